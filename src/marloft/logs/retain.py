"""Retention: closed segments whose last record is older than the policy's days are deleted."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from marloft.contract.policy import LogPolicy
from marloft.contract.segments import (
    Footer,
    footer_path,
    footers,
    segment_of,
    torn_path,
    unfinished_path,
)
from marloft.errors import DataError
from marloft.files import read_json
from marloft.logs.segments import FOLDERS


def retain(var: Path, policy: LogPolicy, now: datetime) -> list[Path]:
    """Delete the closed segments that are too old, with their footers; return those segments.

    An open segment is never deleted, however old: closed is what nobody writes to any more. The
    footer goes last, so that a segment whose deletion was interrupted is finished by the next call.

    Args:
        var: the folder that holds `log/`.
        policy: `keep_days` None keeps everything.
        now: the time to count back from, with a time zone.

    Raises:
        DataError: `now` has no time zone.
        ConfigError: a footer is damaged.
    """
    if now.tzinfo is None:
        raise DataError(f"now is {now.isoformat()}, needs a time zone; use datetime.now(UTC).")
    if policy.keep_days is None:
        return []
    oldest = now - timedelta(days=policy.keep_days)
    found = [path for folder in FOLDERS.values() for path in footers(var / folder)]
    old = [path for path in found if _last_time(path) < oldest]
    for closed in old:
        segment = segment_of(closed)
        segment.unlink(missing_ok=True)
        torn_path(segment).unlink(missing_ok=True)
        unfinished_path(segment).unlink(missing_ok=True)
        footer_path(segment).unlink()
    return [segment_of(closed) for closed in old]


def _last_time(closed: Path) -> datetime:
    footer = read_json(closed, Footer)
    time = datetime.fromisoformat(footer.last_time or footer.closed)
    return time if time.tzinfo else time.replace(tzinfo=UTC)
