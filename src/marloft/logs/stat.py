"""What the logs hold: segments, records, duplicates, torn lines, who served how much."""

from pathlib import Path

from msgspec import Struct

from marloft.contract.segments import Forgotten, footers, segment_of
from marloft.logs.read import Log, open_log
from marloft.logs.segments import FOLDERS, Segment, list_segments, mismatch


class Served(Struct, frozen=True, kw_only=True):
    """How many requests one version of a model answered, and how many of them with 200."""

    model: str
    version: str
    requests: int
    answered: int


class LogStat(Struct, frozen=True, kw_only=True):
    """One log, `predictions` or `outcomes`.

    `duplicates` are records beyond the first of a request and role, or of an outcome: attempts
    that were repeated; `forgotten` is how many `marloft log forget` removed. Times are those of the
    first and last record, UTC, None when it is empty.
    """

    kind: str
    open_segments: int
    closed_segments: int
    size_bytes: int
    records: int
    unique: int
    duplicates: int
    torn_lines: int
    forgotten: int
    first_time: str | None
    last_time: str | None
    served: list[Served] = []


def stat(var: Path) -> list[LogStat]:
    """Read both logs and count.

    Raises:
        DataError: a line is damaged, or of a newer record schema.
    """
    with open_log(var) as log:
        return [_count(log, kind, list_segments(var, kind)) for kind in FOLDERS]


def mismatches(var: Path) -> list[str]:
    """Return one line for each closed segment that is not what it was when it was closed.

    A segment that is gone, but whose footer is not, was not deleted by retention.
    """
    found = [mismatch(each) for kind in FOLDERS for each in list_segments(var, kind)]
    closed = (segment_of(footer) for folder in FOLDERS.values() for footer in footers(var / folder))
    gone = [f"{path}: is gone, its footer is not" for path in closed if not path.exists()]
    return [line for line in found if line is not None] + gone


def _count(log: Log, kind: str, segments: list[Segment]) -> LogStat:
    lines = log.counts.prediction_lines if kind == "predictions" else log.counts.outcome_lines
    unique, first, last = _span(log, kind)
    closed = sum(segment.footer is not None for segment in segments)
    return LogStat(
        kind=kind,
        open_segments=len(segments) - closed,
        closed_segments=closed,
        size_bytes=sum(segment.size_bytes for segment in segments),
        records=lines,
        unique=unique,
        duplicates=lines - unique,
        torn_lines=sum(segment.torn_lines for segment in segments),
        forgotten=sum(done.records for each in segments for done in _forgotten(each)),
        first_time=first,
        last_time=last,
        served=_served(log) if kind == "predictions" else [],
    )


def _forgotten(segment: Segment) -> list[Forgotten]:
    return [] if segment.footer is None else segment.footer.forgotten


def _span(log: Log, kind: str) -> tuple[int, str | None, str | None]:
    row = log.connection.execute(
        f"SELECT count(*), min(time), max(time) FROM {kind}"  # noqa: S608 (own names)
    ).fetchone()
    assert row is not None
    first, last = (time and f"{time.isoformat(timespec='milliseconds')}Z" for time in row[1:])
    return int(row[0]), first, last


def _served(log: Log) -> list[Served]:
    rows = log.connection.execute(
        "SELECT model, version, count(*), count(*) FILTER (WHERE status = 200) "
        "FROM predictions WHERE role = 'answer' GROUP BY model, version ORDER BY model, version"
    ).fetchall()
    return [Served(model=m, version=v, requests=n, answered=good) for m, v, n, good in rows]
