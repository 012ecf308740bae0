"""Runs an archive's golden requests through its handler, in a clean process, as a worker would."""

import tempfile
from pathlib import Path

import msgspec

from marloft.archive.golden_comparison import golden_difference
from marloft.archive.sandbox.confinement import ConfinedRun, Limits
from marloft.archive.sandbox.handler_run import (
    LIMITS,
    WITHOUT_TORCHSERVE,
    HandlerAnswer,
    HandlerRun,
    UnpackedArchive,
    broken_limit,
    has_torchserve,
    log_of,
    reason_of,
    run_batches,
    unpack,
)
from marloft.archive.verify import ANY_ORIGIN, VerifyReport, verify
from marloft.contract.check import Check
from marloft.contract.manifest import GOLDEN_JSONL
from marloft.contract.policy import TrustPolicy

_LOG_LINES = 40


def replay(path: Path, policy: TrustPolicy = ANY_ORIGIN, limits: Limits = LIMITS) -> VerifyReport:
    """Verify an archive, then run its golden requests: each alone, then all in one batch.

    An archive of code alone may hold no golden requests; then its handler is only loaded.

    This runs the archive's code, if `verify` accepts it under `policy`; under the default one the
    caller vouches for it. `confinement.run` says what it runs with; the report's `isolation` says
    which of that the kernel granted.

    Raises:
        ArchiveError: there is no such file.
        ConfigError: the policy's public key is not usable.
    """
    report = verify(path, policy)
    if not report.ok:
        return report
    with tempfile.TemporaryDirectory(prefix="marloft-replay-") as scratch:
        archive = unpack(path, Path(scratch))
        if not archive.golden and archive.manifest.artifact is not None:
            nothing = Check.failed("MRL020", GOLDEN_JSONL, "there is nothing to replay")
            return msgspec.structs.replace(report, checks=[*report.checks, nothing])
        places = list(range(len(archive.golden)))
        batches = [[place] for place in places] + ([places] if places else [])
        process, answered = run_batches(archive, archive.requests, batches, limits)
    checks = _check_run(archive, process, answered)
    failed = not all(check.ok for check in checks)
    return msgspec.structs.replace(
        report,
        checks=[*report.checks, *checks],
        log="\n".join(log_of(process, archive).splitlines()[-_LOG_LINES:]) if failed else None,
        isolation=process.isolation,
    )


def _check_run(
    archive: UnpackedArchive, process: ConfinedRun, answered: HandlerRun | None
) -> list[Check]:
    handler = archive.manifest.handler
    broken = broken_limit(process)
    if broken is not None:
        return [Check.failed("MRL023", handler, broken)]
    ended = Check.passed("MRL023", "ended in time, nothing left running")
    if answered is None:
        reason = reason_of(process, log_of(process, archive))
        return [ended, Check.failed("MRL020", handler, reason)]
    how = "" if has_torchserve() else f"; {WITHOUT_TORCHSERVE}"
    if not archive.golden:
        return [ended, Check.passed("MRL020", f"the handler loads; it has no golden answers{how}")]
    *alone, together = answered.batches
    return [
        ended,
        Check.passed("MRL020", f"the handler loads and answers{how}"),
        _compare("MRL021", "alone", archive, [answer for (answer,) in alone]),
        _compare("MRL022", "in one batch", archive, together),
    ]


def _compare(code: str, how: str, archive: UnpackedArchive, answers: list[HandlerAnswer]) -> Check:
    for number, (wanted, answer) in enumerate(zip(archive.golden, answers, strict=True), start=1):
        found = golden_difference(archive.manifest, wanted, answer.status, answer.body)
        if found is not None:
            return Check.failed(code, f"{GOLDEN_JSONL}:{number}", f"asked {how}: {found}")
    return Check.passed(code, f"{len(archive.golden)} golden answers repeated {how}")
