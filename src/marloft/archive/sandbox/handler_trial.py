"""Checks a built archive's handler before the store gets it: lint, then a confined run."""

import logging
import random
import tempfile
import time
import zipfile
from itertools import cycle, islice
from pathlib import Path

import msgspec

from marloft.archive.checks.lint import lint
from marloft.archive.golden_comparison import golden_difference
from marloft.archive.golden_requests import JSON_TYPE, HttpRequest, json_request
from marloft.archive.manifest import read_manifest
from marloft.archive.sandbox.confinement import ConfinedRun
from marloft.archive.sandbox.handler_run import (
    WITHOUT_TORCHSERVE,
    HandlerAnswer,
    HandlerRun,
    UnpackedArchive,
    broken_limit,
    failure_of,
    has_torchserve,
    log_of,
    reason_of,
    run_batches,
    unpack,
)
from marloft.contract.manifest import GOLDEN_JSONL, ROWS_CURE, Measured
from marloft.errors import ArchiveError

_logger = logging.getLogger(__name__)
_LOG_LINES = 60
_FAILED = 500
# None of these may get a 200, or change the answer to another request.
_MALFORMED = (b"{", b'{"features": []}', b'{"features": [{"no_such_field": 0}]}')


class HandlerError(ArchiveError):
    """A handler failed when it was run; `log` is the end of what it wrote, with its traceback."""

    def __init__(self, message: str, log: str) -> None:
        super().__init__(message)
        self.log = "\n".join(log.splitlines()[-_LOG_LINES:])


def try_handler(path: Path) -> Measured:
    """Lint an archive's code, then load it and send it its golden requests in several ways.

    Each golden answer has to be repeated alone, in one batch in three orders, and in a batch with
    malformed requests, which have to get a 4xx each. Then requests of one row, of two and of
    `max_rows` are sent, whatever the golden ones hold: their rows again and again. An archive
    without golden answers is loaded, and sent the malformed requests if it has a row schema. This
    runs the archive's code, confined as `confinement.run` says.

    Raises:
        ArchiveError: the lint found something.
        HandlerError: the handler does not load, or an answer is wrong.
    """
    with zipfile.ZipFile(path) as archive:
        lint(archive, read_manifest(path))
    with tempfile.TemporaryDirectory(prefix="marloft-trial-") as scratch:
        unpacked = unpack(path, Path(scratch))
        sizes = _row_counts(unpacked)
        requests = [*unpacked.requests, *map(json_request, _MALFORMED)]
        batches = _batches(len(unpacked.golden), malformed=unpacked.has_schema)
        batches += [(f"with {n} rows", [len(requests) + place]) for place, n in enumerate(sizes)]
        requests += [_request_of(unpacked, count) for count in sizes]
        started = time.time()
        process, answered = run_batches(unpacked, requests, [batch for _, batch in batches])
    log = log_of(process, unpacked)
    if answered is None or broken_limit(process) is not None:
        raise HandlerError(f"{_line_of(log, unpacked)}: {_reason(process, log)}", log)
    if not has_torchserve():
        _logger.warning("%s: %s.", unpacked.manifest.name, WITHOUT_TORCHSERVE)
    for (how, batch), answers in zip(batches, answered.batches, strict=True):
        _refuse_wrong(unpacked, how, dict(zip(batch, answers, strict=True)), log)
    answers_by_size = [batch[0] for batch in answered.batches[len(batches) - len(sizes) :]]
    _refuse_fixed_rows(unpacked, dict(zip(sizes, answers_by_size, strict=True)), log)
    return _measured(answered, started, first=bool(unpacked.golden))


def _row_counts(archive: UnpackedArchive) -> list[int]:
    """Return how many rows are tried: none without an example of a row to send in JSON."""
    if archive.schema is None or JSON_TYPE not in archive.manifest.accepts:
        return []
    return sorted(
        {min(count, archive.schema.max_rows) for count in (1, 2, archive.schema.max_rows)}
    )


def _request_of(archive: UnpackedArchive, count: int) -> HttpRequest:
    """Return a request of so many rows, those of the golden requests again and again."""
    rows = cycle([row for answer in archive.golden for row in answer.request["features"]])
    request = archive.golden[0].request | {"features": list(islice(rows, count))}
    return json_request(msgspec.json.encode(request))


def _refuse_fixed_rows(
    archive: UnpackedArchive, answers: dict[int, HandlerAnswer], log: str
) -> None:
    """Refuse an archive that fails for some numbers of rows that its schema admits."""
    failed = [count for count, answer in answers.items() if answer.status >= _FAILED]
    if failed:
        failure = failure_of(log)
        raise HandlerError(
            f"{_line_of(log, archive)}: a request of {failed[0]} rows fails"
            f"{f' ({failure})' if failure else ''}, and the schema admits 1 to {max(answers)}. "
            f"If {archive.manifest.artifact or 'the model'} takes a fixed number of rows, "
            f"{ROWS_CURE}",
            log,
        )


def _batches(count: int, *, malformed: bool) -> list[tuple[str, list[int]]]:
    """Return each batch with its name; the malformed requests stand behind the golden."""
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


def _measured(answered: HandlerRun, started: float, *, first: bool) -> Measured:
    return Measured(
        load_s=round(answered.loaded_at - started, 3),
        peak_memory_mb=round(answered.peak_kib / 1024, 1),
        first_request_ms=round(answered.batch_ms[0], 3) if first else None,
        answers=sum(map(len, answered.batches)),
    )


def _reason(process: ConfinedRun, log: str) -> str:
    broken = broken_limit(process)
    if broken is not None:
        return f"it {broken}; nothing was packed."
    reason = reason_of(process, log)
    return f"it ended with status {process.status} while loading or answering: {reason}"


def _line_of(log: str, archive: UnpackedArchive) -> str:
    """Return `member:line` of the innermost frame in the archive's code, else the handler."""
    failure = failure_of(log)
    frame = failure.shown.frame if failure is not None and failure.is_own else None
    return frame.place if frame else archive.manifest.handler


def _refuse_wrong(
    archive: UnpackedArchive, how: str, answers: dict[int, HandlerAnswer], log: str
) -> None:
    """Refuse the first malformed request that was answered, else the first wrong golden answer."""
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
        answer = answers[place]
        found = golden_difference(archive.manifest, wanted, answer.status, answer.body)
        failure = failure_of(log) if answer.status == _FAILED else None
        if failure is not None:
            # The body of a failure says nothing of its cause; the log does.
            found = f"status {_FAILED}: {failure}"
        if found is not None:
            raise HandlerError(
                f"{where}: asked {how}, {GOLDEN_JSONL}:{place + 1} gets another answer than its "
                f"source model's: {found}",
                log,
            )
