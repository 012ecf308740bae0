"""The golden gate: a version's recorded answers, asked of its workers through their real queue."""

import zipfile
from pathlib import Path
from typing import Any

import httpx
import msgspec

from marloft.archive.describe import read_manifest
from marloft.archive.golden import difference
from marloft.contract.manifest import GOLDEN_JSONL, GoldenAnswer
from marloft.contract.predict_api import ROUTE_HEADER
from marloft.errors import ServingError

# Enough to tell one model from another; all of them are the business of `verify --replay`.
QUESTIONS = 8
_ANSWER_S = 2.0
# Answered as any other request, neither logged nor counted.
_HEADERS = {ROUTE_HEADER: "check=1"}
_NOT_NOW = (503, 507)


class UnansweredError(ServingError):
    """A golden request got no answer in time: busy or restarting workers, nothing is proved."""


class Gate:
    """Asks one TorchServe's versions for their golden answers."""

    def __init__(self, inference_port: int) -> None:
        """Connect lazily to the inference port on loopback."""
        base = f"http://127.0.0.1:{inference_port}"
        self._client = httpx.Client(base_url=base, timeout=_ANSWER_S)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def check(self, archive: Path, model: str, version: str) -> str | None:
        """Return in one line how the version differs from its archive's golden answers.

        Asks at most `QUESTIONS` of them, one at a time, so that running inference is not
        disturbed. None when all agree, or when the archive has none.

        Raises:
            UnansweredError: a request had no answer in 2 s.
            ArchiveError, ConfigError: the archive cannot be read.
        """
        tolerance = read_manifest(archive).golden_tolerance
        for number, golden in enumerate(_golden(archive), start=1):
            found = self._ask(golden, f"/predictions/{model}/{version}", tolerance)
            if found is not None:
                return f"golden answer {number} differs: {found}"
        return None

    def _ask(self, golden: GoldenAnswer, path: str, tolerance: float) -> str | None:
        try:
            response = self._client.post(path, json=golden.request, headers=_HEADERS)
        except httpx.HTTPError as error:
            raise UnansweredError(f"no answer to a golden request at {path}: {error!r}") from error
        if response.status_code in _NOT_NOW:
            raise UnansweredError(f"{path} answered {response.status_code} to a golden request")
        if response.is_error:
            return f"status {response.status_code}: {response.text[:200]}"
        try:
            answer = msgspec.json.decode(response.content, type=dict[str, Any])
        except msgspec.DecodeError:
            return f"the answer is no JSON object: {response.text[:80]!r}"
        return difference(golden.expected, answer, tolerance)


def _golden(archive: Path) -> list[GoldenAnswer]:
    with zipfile.ZipFile(archive) as stream:
        if GOLDEN_JSONL not in stream.namelist():
            return []
        lines = stream.read(GOLDEN_JSONL).splitlines()[:QUESTIONS]
    return [msgspec.json.decode(line, type=GoldenAnswer) for line in lines]
