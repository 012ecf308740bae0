"""Deletes log segments that a release no longer keeps, and tells people which."""

from datetime import UTC, datetime
from pathlib import Path

from marloft.contract.policy import LogPolicy
from marloft.deploy.events import append_event
from marloft.logs.retain import retain


def delete_old_segments(var: Path, policy: LogPolicy) -> list[Path]:
    """Delete what `policy` keeps no longer; the deleted segments go to `events.jsonl` too.

    Raises:
        ConfigError: the footer of a segment is damaged.
    """
    deleted = retain(var, policy, datetime.now(UTC))
    if deleted:
        names = [str(path.relative_to(var)) for path in deleted]
        append_event(var, "log deleted", keep_days=policy.keep_days, segments=names)
    return deleted
