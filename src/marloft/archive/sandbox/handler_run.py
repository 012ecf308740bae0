"""Runs batches of requests through an archive's handler, in a confined process of its own.

`pack` tries a handler by it and `verify --replay` repeats golden answers by it. It costs two to
three seconds, most of it TorchServe's import of torch; without TorchServe a stand-in loads the
handler, which answers the same.
"""

import os
import re
import signal
import stat
import sys
import zipfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import msgspec
from msgspec import Struct

from marloft.archive.golden_requests import HttpRequest, http_requests
from marloft.archive.manifest import read_manifest
from marloft.archive.sandbox.confinement import ConfinedRun, Limits, run
from marloft.contract.manifest import (
    GOLDEN_JSONL,
    SCHEMA_JSON,
    GoldenAnswer,
    Manifest,
    decode_golden,
)
from marloft.contract.schema import RowSchema, from_json_schema
from marloft.extras import extra_of
from marloft.tracebacks import Failure, read_failures

LIMITS = Limits()
_MISSING = re.compile(r"\bNo module named '([^']+)'")
WITHOUT_TORCHSERVE = "tried without TorchServe, which is not installed"
_FOLDER, _BATCHES, _ANSWERS = "archive", "batches.json", "answers.json"
_MOST_ANSWERS = 256 << 20
# A model is in memory once as file and at most a few times as tensors.
_COPIES = 4


class UnpackedArchive(Struct, frozen=True, kw_only=True):
    """An archive in a folder, with its golden answers and the request of each.

    `folder` lies in a scratch folder that nothing else uses; `size_bytes` is the archive's.
    `schema` is that of the golden requests, None without any.
    """

    folder: Path
    manifest: Manifest
    schema: RowSchema | None
    golden: list[GoldenAnswer]
    requests: list[HttpRequest]
    size_bytes: int

    @property
    def has_schema(self) -> bool:
        """Whether marloft's base class reads the requests: there is a row schema."""
        return (self.folder / SCHEMA_JSON).exists()


class HandlerAnswer(Struct, frozen=True, kw_only=True):
    """What the handler answered to one request."""

    status: int
    body: str


class HandlerRun(Struct, frozen=True, kw_only=True):
    """What the worker wrote: the answers of each batch, and what loading and answering took.

    `loaded_at` is in seconds since the epoch.
    """

    batches: list[list[HandlerAnswer]]
    batch_ms: list[float]
    loaded_at: float
    peak_kib: int


class _Batches(Struct, frozen=True, kw_only=True):
    requests: Sequence[HttpRequest]
    batches: Sequence[Sequence[int]]
    torchserve: bool


def unpack(path: Path, scratch: Path) -> UnpackedArchive:
    """Unpack an archive whose paths and sizes have been checked into the empty folder `scratch`."""
    # As the kernel names it: a path through a link is no mount point.
    folder = scratch.resolve() / _FOLDER
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    manifest = read_manifest(path)
    file = folder / GOLDEN_JSONL
    golden = decode_golden(file.read_bytes()) if file.exists() else []
    schema = None
    if golden:
        schema = from_json_schema(msgspec.json.decode((folder / SCHEMA_JSON).read_bytes()))
    return UnpackedArchive(
        folder=folder,
        manifest=manifest,
        schema=schema,
        golden=golden,
        requests=http_requests(golden, manifest.accepts, schema),
        size_bytes=path.stat().st_size,
    )


def has_torchserve() -> bool:
    """Whether TorchServe is installed, so that its own loader loads handlers."""
    return find_spec("ts") is not None


def run_batches(
    archive: UnpackedArchive,
    requests: Sequence[HttpRequest],
    batches: Sequence[Sequence[int]],
    limits: Limits = LIMITS,
) -> tuple[ConfinedRun, HandlerRun | None]:
    """Load the handler and let it answer `batches`, each a list of places in `requests`.

    This runs the archive's code, confined as `confinement.run` says. Without batches the handler is
    only loaded. There are no answers when the process failed or wrote none that can be read.
    """
    scratch = archive.folder.parent
    given, answers = scratch / _BATCHES, scratch / _ANSWERS
    asked = _Batches(requests=requests, batches=batches, torchserve=has_torchserve())
    given.write_bytes(msgspec.json.encode(asked))
    worker = Path(__file__).with_name("handler_worker.py")
    command = [sys.executable, "-I", "-B", "-X", "faulthandler", str(worker), str(archive.folder)]
    command += [archive.manifest.name, str(answers), str(given)]
    process = run(command, archive.folder, scratch, _fit_limits(limits, archive))
    answered = _read_answers(answers) if process.status == 0 else None
    if answered is not None and list(map(len, answered.batches)) != list(map(len, batches)):
        return process, None
    return process, answered


def log_of(process: ConfinedRun, archive: UnpackedArchive) -> str:
    """Return what a run wrote, with the archive's files as they are named in it."""
    return process.log.replace(f"{archive.folder}{os.sep}", "")


def failure_of(log: str) -> Failure | None:
    """Return the last traceback in a run's log."""
    return next(reversed(read_failures(log.split("\n"))), None)


def reason_of(process: ConfinedRun, log: str) -> str:
    """Return in one line why a run wrote no answers, with the extra where a module is missing."""
    failure = failure_of(log)
    lines = log.strip().splitlines()
    if failure is None and not lines:
        return f"status {process.status} and no output that can be read"
    reason = lines[-1] if failure is None else str(failure)
    missing = _MISSING.search(reason)
    extra = extra_of(missing[1]) if missing else None
    return reason if extra is None else f"{reason}; pip install 'marloft[{extra}]'"


def broken_limit(process: ConfinedRun) -> str | None:
    """Return in words which limit a run broke, None when it ended by itself and alone."""
    if process.timed_out:
        return "was not done in time and was ended"
    if process.status == -signal.SIGXCPU:
        return "used up its processor time and was ended"
    return "left processes running, which were ended" if process.left_running else None


def _fit_limits(limits: Limits, archive: UnpackedArchive) -> Limits:
    """Give a large model its memory; a GPU's driver maps more address space than any limit."""
    if archive.manifest.runtime == "tensorrt" or limits.memory_bytes is None:
        return msgspec.structs.replace(limits, memory_bytes=None)
    memory = limits.memory_bytes + _COPIES * archive.size_bytes
    return msgspec.structs.replace(limits, memory_bytes=memory)


def _read_answers(path: Path) -> HandlerRun | None:
    """Read what the worker left there, which may be a link, a pipe or too large."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(handle, "rb") as stream:
        about = os.fstat(stream.fileno())
        if not stat.S_ISREG(about.st_mode) or about.st_size > _MOST_ANSWERS:
            return None
        try:
            return msgspec.json.decode(stream.read(), type=HandlerRun)
        except (msgspec.DecodeError, RecursionError):
            return None
