"""Runs an archive's golden requests through its handler, in a clean process, as a worker would."""

import os
import signal
import stat
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from marloft.archive.describe import read_manifest
from marloft.archive.golden import difference
from marloft.archive.sandbox import Limits, Outcome, run
from marloft.archive.verify import ANY_ORIGIN, VerifyReport, verify
from marloft.contract.check import Check
from marloft.contract.manifest import GOLDEN_JSONL, GoldenAnswer, Manifest
from marloft.contract.policy import TrustPolicy

_LIMITS = Limits()
_LOG_LINES = 40
_MOST_ANSWERS = 256 << 20
# A model is in memory once as file and at most a few times as tensors.
_COPIES = 4


class _Answer(Struct, frozen=True, kw_only=True):
    status: int
    body: str


class _Answers(Struct, frozen=True, kw_only=True):
    alone: list[_Answer]
    together: list[_Answer]


def replay(path: Path, policy: TrustPolicy = ANY_ORIGIN, limits: Limits = _LIMITS) -> VerifyReport:
    """Verify an archive, then run its golden requests: each alone, then all in one batch.

    An archive of code alone may hold no golden requests; then its handler is only loaded.

    This runs the archive's code, if `verify` accepts it under `policy`; under the default one the
    caller vouches for it. `sandbox.run` says what it runs with; the report's `isolation` says which
    of that the kernel granted.

    Raises:
        ArchiveError: there is no such file.
        ConfigError: the policy's public key is not usable.
    """
    report = verify(path, policy)
    if not report.ok:
        return report
    manifest = read_manifest(path)
    with tempfile.TemporaryDirectory(prefix="marloft-replay-") as folder:
        # As the kernel names it: a path through a link is no mount point.
        scratch = Path(folder).resolve()
        golden = _unpack(path, scratch / "archive")
        if not golden and manifest.artifact is not None:
            nothing = _check("MRL020", GOLDEN_JSONL, "there is nothing to replay")
            return msgspec.structs.replace(report, checks=[*report.checks, nothing])
        outcome = run(
            _command(manifest, scratch),
            scratch / "archive",
            scratch,
            _fitted(limits, manifest, path),
        )
        checks = _judged(manifest, golden, outcome, _read_answers(_answers_file(scratch)))
    failed = not all(check.ok for check in checks)
    return msgspec.structs.replace(
        report,
        checks=[*report.checks, *checks],
        log="\n".join(outcome.log.splitlines()[-_LOG_LINES:]) if failed else None,
        isolation=outcome.isolation,
    )


def _unpack(path: Path, folder: Path) -> list[GoldenAnswer]:
    with zipfile.ZipFile(path) as archive:
        # Safe: verify has checked every path and size.
        archive.extractall(folder)
    golden = folder / GOLDEN_JSONL
    lines = golden.read_bytes().splitlines() if golden.exists() else []
    return [msgspec.json.decode(line, type=GoldenAnswer) for line in lines]


def _command(manifest: Manifest, scratch: Path) -> list[str]:
    worker = Path(__file__).with_name("replay_worker.py")
    folder, answers = scratch / "archive", _answers_file(scratch)
    return [sys.executable, "-I", "-B", str(worker), str(folder), manifest.name, str(answers)]


def _answers_file(scratch: Path) -> Path:
    return scratch / "answers.json"


def _fitted(limits: Limits, manifest: Manifest, path: Path) -> Limits:
    """Give a large model its memory; a GPU's driver maps more address space than any limit."""
    if manifest.runtime == "tensorrt" or limits.memory_bytes is None:
        return msgspec.structs.replace(limits, memory_bytes=None)
    memory = limits.memory_bytes + _COPIES * path.stat().st_size
    return msgspec.structs.replace(limits, memory_bytes=memory)


def _judged(
    manifest: Manifest, golden: list[GoldenAnswer], outcome: Outcome, answers: _Answers | None
) -> list[Check]:
    stray = _stray(outcome)
    if stray is not None:
        return [_check("MRL023", manifest.handler, stray)]
    kept = _check("MRL023", "", "ended in time, nothing left running")
    if outcome.status != 0 or answers is None:
        return [kept, _check("MRL020", manifest.handler, _last_words(outcome))]
    if not golden:
        return [kept, _check("MRL020", "", "the handler loads; it has no golden answers")]
    return [
        kept,
        _check("MRL020", "", "the handler loads and answers"),
        _compare("MRL021", "alone", golden, answers.alone, manifest.golden_tolerance),
        _compare("MRL022", "in one batch", golden, answers.together, manifest.golden_tolerance),
    ]


def _stray(outcome: Outcome) -> str | None:
    if outcome.timed_out:
        return "was not done in time and was ended"
    if outcome.status == -signal.SIGXCPU:
        return "used up its processor time and was ended"
    return "left processes running, which were ended" if outcome.left else None


def _read_answers(path: Path) -> _Answers | None:
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
            return msgspec.json.decode(stream.read(), type=_Answers)
        except (msgspec.DecodeError, RecursionError):
            return None


def _compare(
    code: str, how: str, golden: list[GoldenAnswer], answers: list[_Answer], tolerance: float
) -> Check:
    if len(answers) != len(golden):
        return _check(code, GOLDEN_JSONL, f"{len(answers)} answers to {len(golden)} requests {how}")
    for number, (wanted, answer) in enumerate(zip(golden, answers, strict=True), start=1):
        found = _fault(wanted.expected, answer, tolerance)
        if found is not None:
            return _check(code, f"{GOLDEN_JSONL}:{number}", f"asked {how}: {found}")
    return _check(code, "", f"{len(golden)} golden answers repeated {how}")


def _fault(expected: dict[str, Any], answer: _Answer, tolerance: float) -> str | None:
    if answer.status != 200:
        return f"status {answer.status}: {answer.body}"
    try:
        body = msgspec.json.decode(answer.body, type=dict[str, Any])
    except msgspec.DecodeError:
        return f"the answer is no JSON object: {answer.body[:80]!r}"
    return difference(expected, body, tolerance)


def _check(code: str, culprit: str, message: str) -> Check:
    return Check(code=code, ok=not culprit, culprit=culprit, message=message)


def _last_words(outcome: Outcome) -> str:
    lines = outcome.log.strip().splitlines()
    if lines:
        return lines[-1]
    return f"the worker ended with status {outcome.status} and no output that can be read"
