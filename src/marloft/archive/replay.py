"""Runs an archive's golden requests through its handler, in a clean process, as a worker would."""

import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from marloft.archive.describe import read_manifest
from marloft.archive.golden import difference
from marloft.archive.verify import VerifyReport, verify
from marloft.contract.check import Check
from marloft.contract.manifest import GOLDEN_JSONL, GoldenAnswer, Manifest

_TIMEOUT_S = 120
_LOG_LINES = 40


class _Answer(Struct, frozen=True, kw_only=True):
    status: int
    body: str


class _Answers(Struct, frozen=True, kw_only=True):
    alone: list[_Answer]
    together: list[_Answer]


def replay(path: Path) -> VerifyReport:
    """Verify an archive, then run its golden requests: each alone, then all in one batch.

    An archive of code alone may hold no golden requests; then its handler is only loaded.

    This runs the archive's code: with an empty home and state folder, a minimal environment and
    nothing but the archive's own folder added to the path, but with the caller's rights.

    Raises:
        ArchiveError: there is no such file.
    """
    report = verify(path)
    if not report.ok:
        return report
    with tempfile.TemporaryDirectory(prefix="marloft-replay-") as scratch:
        checks, log = _replay(path, read_manifest(path), Path(scratch))
    return msgspec.structs.replace(report, checks=[*report.checks, *checks], log=log)


def _replay(path: Path, manifest: Manifest, scratch: Path) -> tuple[list[Check], str | None]:
    folder = scratch / "archive"
    with zipfile.ZipFile(path) as archive:
        # Safe: verify has checked every path and size.
        archive.extractall(folder)
    golden_file = folder / GOLDEN_JSONL
    if not golden_file.exists() and manifest.artifact is not None:
        return [_check("MRL020", GOLDEN_JSONL, "there is nothing to replay")], None
    lines = golden_file.read_bytes().splitlines() if golden_file.exists() else []
    golden = [msgspec.json.decode(line, type=GoldenAnswer) for line in lines]
    answers, log = _run(folder, manifest.name, scratch)
    if answers is None:
        return [_check("MRL020", manifest.handler, _last_line(log))], log
    if not golden:
        return [_check("MRL020", "", "the handler loads; it has no golden answers")], None
    checks = [
        _check("MRL020", "", "the handler loads and answers"),
        _compare("MRL021", "alone", golden, answers.alone, manifest.golden_tolerance),
        _compare("MRL022", "in one batch", golden, answers.together, manifest.golden_tolerance),
    ]
    return checks, None if all(check.ok for check in checks) else log


def _run(folder: Path, name: str, scratch: Path) -> tuple[_Answers | None, str]:
    """Return the answers, or None, and the last lines the worker wrote."""
    out = scratch / "answers.json"
    worker = Path(__file__).with_name("replay_worker.py")
    command = [sys.executable, "-I", "-B", str(worker), str(folder), name, str(out)]
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
        return None, f"no answer within {_TIMEOUT_S} s"
    log = "\n".join((done.stdout + done.stderr).splitlines()[-_LOG_LINES:])
    if done.returncode != 0 or not out.exists():
        return None, log or f"the worker ended with status {done.returncode} and no output"
    return msgspec.json.decode(out.read_bytes(), type=_Answers), log


def _environment(scratch: Path) -> dict[str, str]:
    folders = {name: scratch / name.lower() for name in ("HOME", "TMPDIR", "MARLOFT_VAR")}
    for folder in folders.values():
        folder.mkdir()
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        **{name: str(folder) for name, folder in folders.items()},
    }


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


def _last_line(log: str) -> str:
    return log.strip().splitlines()[-1] if log.strip() else "no output"
