"""Asks an archive's handler batches of requests, in a confined process of its own.

`pack` examines a handler by it and `verify --replay` repeats golden answers by it. It costs two to
three seconds, most of it TorchServe's import of torch.
"""

import os
import signal
import stat
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from marloft.archive.golden_requests import Sent, as_sent
from marloft.archive.manifest import read_manifest
from marloft.archive.sandbox.confinement import Limits, Outcome, run
from marloft.contract.manifest import (
    GOLDEN_JSONL,
    SCHEMA_JSON,
    GoldenAnswer,
    Manifest,
    decode_golden,
)
from marloft.contract.schema import from_json_schema

LIMITS = Limits()
_FOLDER, _QUESTIONS, _ANSWERS = "archive", "questions.json", "answers.json"
_MOST_ANSWERS = 256 << 20
# A model is in memory once as file and at most a few times as tensors.
_COPIES = 4


class Unpacked(Struct, frozen=True, kw_only=True):
    """An archive in a folder, with its golden answers and how each of them is asked.

    `folder` lies in a scratch folder that nothing else uses; `size_bytes` is the archive's.
    """

    folder: Path
    manifest: Manifest
    golden: list[GoldenAnswer]
    sent: list[Sent]
    size_bytes: int

    @property
    def described(self) -> bool:
        """Whether marloft's base class reads the requests: there is a row schema."""
        return (self.folder / SCHEMA_JSON).exists()


class Answer(Struct, frozen=True, kw_only=True):
    """What one request got."""

    status: int
    body: str


class Found(Struct, frozen=True, kw_only=True):
    """What the worker wrote: the answers of each batch, and what loading and asking took.

    `loaded_at` is in seconds since the epoch.
    """

    batches: list[list[Answer]]
    batch_ms: list[float]
    loaded_at: float
    peak_kib: int


class _Questions(Struct, frozen=True, kw_only=True):
    requests: Sequence[Sent]
    batches: Sequence[Sequence[int]]


def unpack(path: Path, scratch: Path) -> Unpacked:
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
    return Unpacked(
        folder=folder,
        manifest=manifest,
        golden=golden,
        sent=as_sent(golden, manifest.accepts, schema),
        size_bytes=path.stat().st_size,
    )


def ask(
    archive: Unpacked,
    requests: Sequence[Sent],
    batches: Sequence[Sequence[int]],
    limits: Limits = LIMITS,
) -> tuple[Outcome, Found | None]:
    """Load the handler and ask it `batches`, each a list of places in `requests`.

    This runs the archive's code: `sandbox.run` says with how little. Without batches the handler is
    only loaded. There are no answers when the process failed or wrote none that can be read.
    """
    scratch = archive.folder.parent
    questions, answers = scratch / _QUESTIONS, scratch / _ANSWERS
    questions.write_bytes(msgspec.json.encode(_Questions(requests=requests, batches=batches)))
    worker = Path(__file__).with_name("handler_worker.py")
    command = [sys.executable, "-I", "-B", str(worker), str(archive.folder)]
    command += [archive.manifest.name, str(answers), str(questions)]
    outcome = run(command, archive.folder, scratch, _fitted(limits, archive))
    found = _read(answers) if outcome.status == 0 else None
    if found is not None and list(map(len, found.batches)) != list(map(len, batches)):
        return outcome, None
    return outcome, found


def stray(outcome: Outcome) -> str | None:
    """Say in words how a run got out of hand, None when it ended by itself and alone."""
    if outcome.timed_out:
        return "was not done in time and was ended"
    if outcome.status == -signal.SIGXCPU:
        return "used up its processor time and was ended"
    return "left processes running, which were ended" if outcome.left else None


def _fitted(limits: Limits, archive: Unpacked) -> Limits:
    """Give a large model its memory; a GPU's driver maps more address space than any limit."""
    if archive.manifest.runtime == "tensorrt" or limits.memory_bytes is None:
        return msgspec.structs.replace(limits, memory_bytes=None)
    memory = limits.memory_bytes + _COPIES * archive.size_bytes
    return msgspec.structs.replace(limits, memory_bytes=memory)


def _read(path: Path) -> Found | None:
    """Read what the worker left there, which may be a link, a pipe or a flood."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(handle, "rb") as stream:
        about = os.fstat(stream.fileno())
        if not stat.S_ISREG(about.st_mode) or about.st_size > _MOST_ANSWERS:
            return None
        try:
            return msgspec.json.decode(stream.read(), type=Found)
        except (msgspec.DecodeError, RecursionError):
            return None
