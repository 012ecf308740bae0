"""The golden gate: a version's recorded answers, asked of its workers through their real queue."""

import itertools
import math
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
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
from marloft.contract.release import Key
from marloft.contract.schema import from_json_schema
from marloft.errors import ServingError

# Enough to tell one model from another; all of them are the business of `verify --replay`.
QUESTIONS = 8
_ANSWER_S = 2.0
_BURST_S, _BURSTS = 0.3, 3
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
        self.answer_s: dict[Key, float] = {}

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def check(self, archive: Path, model: str, version: str, *, batch: int = 1) -> str | None:
        """Return in one line how the version differs from its archive's golden answers.

        Asks at most `QUESTIONS` of them, each in a form that the archive accepts, one at a time, so
        that running inference is not disturbed. None when all agree, or when the archive has none.
        Then `batch` of them are asked at once, or as many as take 0.3 s one by one, since many
        models answer a batch in little more time than one: `answer_s` keeps the seconds for each.

        Raises:
            UnansweredError: a request had no answer in 2 s, or a 503 or 507.
            ArchiveError, ConfigError: the archive cannot be read.
        """
        path = f"/predictions/{model}/{version}"
        manifest = read_manifest(archive)
        asked = questions(archive)
        fastest_s = math.inf
        for number, (golden, sent) in enumerate(asked, start=1):
            began = time.monotonic()
            found = self._ask(golden, sent, path, manifest)
            fastest_s = min(fastest_s, time.monotonic() - began)
            if found is not None:
                return f"golden answer {number} differs: {found}"
        if asked:
            at_once = min(batch, max(1, int(_BURST_S / fastest_s)))
            burst_s = self._time_bursts([sent for _, sent in asked], path, at_once)
            self.answer_s[model, version] = min(fastest_s, burst_s)
        return None

    def _time_bursts(self, asked: list[HttpRequest], path: str, at_once: int) -> float:
        """Return the seconds for each answer when so many are asked at once; best of a few."""
        if at_once == 1:
            return math.inf
        sent = list(itertools.islice(itertools.cycle(asked), at_once))
        seconds = []
        with ThreadPoolExecutor(at_once) as pool:
            for _ in range(_BURSTS):
                began = time.monotonic()
                for answered in [pool.submit(self._send, each, path) for each in sent]:
                    answered.result()
                seconds.append(time.monotonic() - began)
        return min(seconds) / at_once

    def _ask(
        self, golden: GoldenAnswer, sent: HttpRequest, path: str, manifest: Manifest
    ) -> str | None:
        response = self._send(sent, path)
        body = response.text[:200] if response.is_error else response.text
        return golden_difference(manifest, golden, response.status_code, body)

    def _send(self, sent: HttpRequest, path: str) -> httpx2.Response:
        headers = {**sent.headers, **_HEADERS}
        try:
            response = self._client.post(path, content=sent.body, headers=headers)
        except httpx2.HTTPError as error:
            raise UnansweredError(f"no answer to a golden request at {path}: {error!r}") from error
        if response.status_code in _NOT_NOW:
            raise UnansweredError(f"{path} answered {response.status_code} to a golden request")
        return response


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
