"""Checks a built archive's handler before the store gets it: lint, then a confined run."""

import os
import random
import tempfile
import time
import zipfile
from pathlib import Path

from marloft.archive.checks.lint import lint
from marloft.archive.golden import fault
from marloft.archive.golden_requests import as_json
from marloft.archive.manifest import read_manifest
from marloft.archive.sandbox.confinement import Outcome
from marloft.archive.sandbox.handler_run import Answer, Found, Unpacked, ask, stray, unpack
from marloft.contract.manifest import GOLDEN_JSONL, Measured
from marloft.errors import ArchiveError

_LOG_LINES = 60
# None of these may get a 200, or change the answer to another request.
_MALFORMED = (b"{", b'{"features": []}', b'{"features": [{"no_such_field": 0}]}')
_FRAME = 'File "{member}", line '


class HandlerError(ArchiveError):
    """A handler failed when it was run; `log` is what it wrote, its traceback included."""

    def __init__(self, message: str, log: str) -> None:
        super().__init__(message)
        self.log = log


def examine(path: Path) -> Measured:
    """Lint an archive's code, then load it and ask it its golden requests in several ways.

    Each golden answer has to be repeated alone, in one batch in three orders, and in a batch with
    malformed requests, which have to get a 4xx each. An archive without golden answers is loaded,
    and asked the malformed requests if it has a row schema. This runs the archive's code, confined
    as `sandbox.run` says.

    Raises:
        ArchiveError: the lint found something.
        HandlerError: the handler does not load, or an answer is wrong.
    """
    with zipfile.ZipFile(path) as archive:
        lint(archive, read_manifest(path))
    with tempfile.TemporaryDirectory(prefix="marloft-examine-") as scratch:
        unpacked = unpack(path, Path(scratch))
        asked = _batches(len(unpacked.golden), malformed=unpacked.described)
        requests = [*unpacked.sent, *map(as_json, _MALFORMED)]
        started = time.time()
        outcome, found = ask(unpacked, requests, [batch for _, batch in asked])
    log = _log(outcome, unpacked.folder)
    if found is None or stray(outcome) is not None:
        raise HandlerError(f"{_line_of(log, unpacked)}: {_end(outcome, log)}", log)
    for (how, batch), answers in zip(asked, found.batches, strict=True):
        _compare(unpacked, how, dict(zip(batch, answers, strict=True)), log)
    return _measured(found, started, first=bool(unpacked.golden))


def _batches(count: int, *, malformed: bool) -> list[tuple[str, list[int]]]:
    """Return each batch to ask, with its name; the malformed requests stand behind the golden."""
    places = list(range(count))
    batches = [("alone", [place]) for place in places]
    if places:
        shuffled = random.Random(0).sample(places, count)  # noqa: S311 - an order, no secret
        orders = {"in one batch": places, "reversed": places[::-1], "shuffled": shuffled}
        batches += orders.items()
    if malformed:
        wrong = list(range(count, count + len(_MALFORMED)))
        batches.append(("in a batch with malformed requests", places[:1] + wrong + places[1:]))
    return batches


def _measured(found: Found, started: float, *, first: bool) -> Measured:
    return Measured(
        load_s=round(found.loaded_at - started, 3),
        peak_memory_mb=round(found.peak_kib / 1024, 1),
        first_request_ms=round(found.batch_ms[0], 3) if first else None,
        answers=sum(map(len, found.batches)),
    )


def _log(outcome: Outcome, folder: Path) -> str:
    # The paths of a traceback are those in the archive, wherever it was unpacked.
    lines = outcome.log.replace(f"{folder}{os.sep}", "").splitlines()
    return "\n".join(lines[-_LOG_LINES:])


def _end(outcome: Outcome, log: str) -> str:
    ended = stray(outcome)
    if ended is not None:
        return f"it {ended}; nothing was packed."
    reason = log.strip().splitlines()[-1] if log.strip() else "no output"
    return f"it ended with status {outcome.status} while loading or answering: {reason}"


def _line_of(log: str, archive: Unpacked) -> str:
    """Return `handler:line` of the innermost frame in the handler's file, else its name."""
    handler = archive.manifest.handler
    _, found, rest = log.rpartition(_FRAME.format(member=handler))
    line = rest.partition(",")[0] if found else ""
    return f"{handler}:{line}" if line else handler


def _compare(archive: Unpacked, how: str, answers: dict[int, Answer], log: str) -> None:
    """Refuse the first malformed request that was answered, else the first golden one amiss."""
    count = len(archive.golden)
    where = _line_of(log, archive)
    for body, place in zip(_MALFORMED, range(count, count + len(_MALFORMED)), strict=True):
        if place in answers and not 400 <= answers[place].status < 500:
            raise HandlerError(
                f"{where}: the malformed request {body.decode()} got status "
                f"{answers[place].status}, not a 4xx; let the base class read requests.",
                log,
            )
    for place, wanted in enumerate(archive.golden):
        if place not in answers:
            continue
        answer, tolerance = answers[place], archive.manifest.golden_tolerance
        found = fault(wanted.expected, answer.status, answer.body, tolerance)
        if found is not None:
            raise HandlerError(
                f"{where}: asked {how}, {GOLDEN_JSONL}:{place + 1} gets another answer than its "
                f"source model's: {found}",
                log,
            )
