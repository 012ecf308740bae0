"""Checks a built archive's handler before the store gets it: lint, then a run in a clean process.

The process has an empty home and state folder, a minimal environment and nothing but the archive
added to its path. It costs two to three seconds, most of it TorchServe's import of torch.
"""

import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from marloft.archive.describe import read_manifest
from marloft.archive.golden import difference
from marloft.archive.lint import lint
from marloft.contract.manifest import GOLDEN_JSONL, SCHEMA_JSON, GoldenAnswer, Manifest, Measured
from marloft.errors import ArchiveError

_TIMEOUT_S = 120
_LOG_LINES = 60
# None of these may get a 200, or change the answer to another request.
_MALFORMED = ("{", '{"features": []}', '{"features": [{"no_such_field": 0}]}')
_FRAME = 'File "{member}", line '


class HandlerError(ArchiveError):
    """A handler failed when it was run; `log` is what it wrote, its traceback included."""

    def __init__(self, message: str, log: str) -> None:
        super().__init__(message)
        self.log = log


class _Answer(Struct, frozen=True, kw_only=True):
    status: int
    body: str


class _Found(Struct, frozen=True, kw_only=True):
    loaded_at: float
    first_ms: float | None
    peak_kib: int
    passes: dict[str, list[_Answer]]


def examine(path: Path) -> Measured:
    """Lint an archive's code, then load it and ask it its golden requests in several ways.

    Each golden answer has to be repeated alone, in one batch in three orders, and in a batch with
    malformed requests, which have to get a 4xx each. An archive without golden answers is loaded,
    and asked the malformed requests if it has a row schema. This runs the archive's code with the
    caller's rights.

    Raises:
        ArchiveError: the lint found something.
        HandlerError: the handler does not load, or an answer is wrong.
    """
    manifest = read_manifest(path)
    with (
        tempfile.TemporaryDirectory(prefix="marloft-examine-") as scratch,
        zipfile.ZipFile(path) as archive,
    ):
        lint(archive, manifest)
        folder = Path(scratch) / "archive"
        # Safe: `pack` has checked every path.
        archive.extractall(folder)
        started = time.time()
        found, log = _run(folder, manifest, Path(scratch))
        golden = _golden(folder)
    _compare(found, golden, manifest, log)
    return Measured(
        load_s=round(found.loaded_at - started, 3),
        peak_memory_mb=round(found.peak_kib / 1024, 1),
        first_request_ms=found.first_ms and round(found.first_ms, 3),
        answers=sum(map(len, found.passes.values())),
    )


def _golden(folder: Path) -> list[GoldenAnswer]:
    file = folder / GOLDEN_JSONL
    lines = file.read_bytes().splitlines() if file.exists() else []
    return [msgspec.json.decode(line, type=GoldenAnswer) for line in lines]


def _run(folder: Path, manifest: Manifest, scratch: Path) -> tuple[_Found, str]:
    out = scratch / "found.json"
    worker = Path(__file__).with_name("probe_worker.py")
    command = [sys.executable, "-I", "-B", str(worker), str(folder), manifest.name, str(out)]
    malformed = _MALFORMED if (folder / SCHEMA_JSON).exists() else ()
    command.append(msgspec.json.encode(malformed).decode())
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=_environment(scratch),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise HandlerError(
            f"{manifest.handler}: no answer within {_TIMEOUT_S} s; nothing was packed.", ""
        ) from None
    # The paths of a traceback are those in the archive, wherever it was unpacked.
    lines = (done.stdout + done.stderr).replace(f"{folder}{os.sep}", "").splitlines()
    log = "\n".join(lines[-_LOG_LINES:])
    if done.returncode != 0 or not out.exists():
        reason = log.strip().splitlines()[-1] if log.strip() else "no output"
        raise HandlerError(
            f"{_line_of(log, manifest.handler)}: it ended with status {done.returncode} while "
            f"loading or answering: {reason}",
            log,
        )
    return msgspec.json.decode(out.read_bytes(), type=_Found), log


def _environment(scratch: Path) -> dict[str, str]:
    folders = {name: scratch / name.lower() for name in ("HOME", "TMPDIR", "MARLOFT_VAR")}
    for folder in folders.values():
        folder.mkdir()
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        **{name: str(folder) for name, folder in folders.items()},
    }


def _line_of(log: str, handler: str) -> str:
    """Return `handler:line` of the innermost frame in the handler's file, else its name."""
    _, found, rest = log.rpartition(_FRAME.format(member=handler))
    line = rest.partition(",")[0] if found else ""
    return f"{handler}:{line}" if line else handler


def _compare(found: _Found, golden: list[GoldenAnswer], manifest: Manifest, log: str) -> None:
    tolerance = manifest.golden_tolerance
    passes = dict(found.passes)
    malformed = passes.pop("malformed", [])
    for body, answer in zip(_MALFORMED, malformed, strict=False):
        if not 400 <= answer.status < 500:
            raise HandlerError(
                f"{_line_of(log, manifest.handler)}: the malformed request {body} got "
                f"status {answer.status}, not a 4xx; let the base class read requests.",
                log,
            )
    passes["in a batch with malformed requests"] = malformed[len(_MALFORMED) :]
    for how, answers in passes.items():
        for number, (wanted, answer) in enumerate(zip(golden, answers, strict=bool(answers)), 1):
            fault = _fault(wanted.expected, answer, tolerance)
            if fault is not None:
                raise HandlerError(
                    f"{_line_of(log, manifest.handler)}: asked {how}, {GOLDEN_JSONL}:{number} gets "
                    f"another answer than its source model's: {fault}",
                    log,
                )


def _fault(expected: dict[str, Any], answer: _Answer, tolerance: float) -> str | None:
    if answer.status != 200:
        return f"status {answer.status}: {answer.body}"
    try:
        body = msgspec.json.decode(answer.body, type=dict[str, Any])
    except msgspec.DecodeError:
        return f"the answer is no JSON object: {answer.body[:80]!r}"
    return difference(expected, body, tolerance)
