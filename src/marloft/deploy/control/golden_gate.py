"""The golden gate: a version's recorded answers, asked of its workers through their real queue."""

import zipfile
from pathlib import Path

import httpx2
import msgspec

from marloft.archive.golden_comparison import golden_difference
from marloft.archive.golden_requests import HttpRequest, http_requests
from marloft.archive.manifest import read_manifest
from marloft.contract.manifest import (
    GOLDEN_JSONL,
    SCHEMA_JSON,
    GoldenAnswer,
    Manifest,
    decode_golden,
)
from marloft.contract.predict_api import ROUTE_HEADER
from marloft.contract.schema import from_json_schema
from marloft.errors import ServingError

# Enough to tell one model from another; all of them are the business of `verify --replay`.
QUESTIONS = 8
_ANSWER_S = 2.0
# Answered as any other request, neither logged nor counted.
_HEADERS = {ROUTE_HEADER: "check=1"}
_NOT_NOW = (503, 507)


class UnansweredError(ServingError):
    """A golden request got no answer in time: busy or restarting workers, nothing is proved."""


class GoldenGate:
    """Asks one TorchServe's versions for their golden answers."""

    def __init__(self, inference_port: int) -> None:
        """Connect lazily to the inference port on loopback."""
        base = f"http://127.0.0.1:{inference_port}"
        self._client = httpx2.Client(base_url=base, timeout=_ANSWER_S)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def check(self, archive: Path, model: str, version: str) -> str | None:
        """Return in one line how the version differs from its archive's golden answers.

        Asks at most `QUESTIONS` of them, each in a form that the archive accepts, one at a time, so
        that running inference is not disturbed. None when all agree, or when the archive has none.

        Raises:
            UnansweredError: a request had no answer in 2 s, or a 503 or 507.
            ArchiveError, ConfigError: the archive cannot be read.
        """
        path = f"/predictions/{model}/{version}"
        manifest = read_manifest(archive)
        for number, (golden, sent) in enumerate(questions(archive), start=1):
            found = self._ask(golden, sent, path, manifest)
            if found is not None:
                return f"golden answer {number} differs: {found}"
        return None

    def _ask(
        self, golden: GoldenAnswer, sent: HttpRequest, path: str, manifest: Manifest
    ) -> str | None:
        headers = {**sent.headers, **_HEADERS}
        try:
            response = self._client.post(path, content=sent.body, headers=headers)
        except httpx2.HTTPError as error:
            raise UnansweredError(f"no answer to a golden request at {path}: {error!r}") from error
        if response.status_code in _NOT_NOW:
            raise UnansweredError(f"{path} answered {response.status_code} to a golden request")
        body = response.text[:200] if response.is_error else response.text
        return golden_difference(manifest, golden, response.status_code, body)


def questions(archive: Path) -> list[tuple[GoldenAnswer, HttpRequest]]:
    """Return the golden answers that are asked, each with its request as it is sent.

    Raises:
        ArchiveError, ConfigError: the archive cannot be read.
    """
    accepts = read_manifest(archive).accepts
    with zipfile.ZipFile(archive) as stream:
        if GOLDEN_JSONL not in stream.namelist():
            return []
        golden = decode_golden(stream.read(GOLDEN_JSONL))[:QUESTIONS]
        schema = from_json_schema(msgspec.json.decode(stream.read(SCHEMA_JSON)))
    return list(zip(golden, http_requests(golden, accepts, schema), strict=True))
