"""Deletes log segments that the newest release no longer keeps, and tells people which."""

import time
from datetime import UTC, datetime
from pathlib import Path

from marloft.contract.release import read_release, releases_folder
from marloft.deploy.events import append_event
from marloft.deploy.faults import Faults
from marloft.logs.retain import retain

EVERY_S = 3600.0
_AFTER_A_FAULT_S = 60.0


class LogRetention:
    """Deletes once an hour, since `keep_days` counts in days."""

    def __init__(self, var: Path, faults: Faults) -> None:
        """Be due at once."""
        self._var, self._faults = var, faults
        self._due_s = 0.0

    def delete_if_due(self) -> list[Path]:
        """Delete what is too old, when the hour has passed; return the deleted segments.

        A damaged release or footer is a fault and tried again: it concerns old records, and must
        not hold up what is to be live.
        """
        if time.monotonic() < self._due_s:
            return []
        self._due_s = time.monotonic() + _AFTER_A_FAULT_S
        deleted: list[Path] = []
        with self._faults.contained("deletion of old log segments"):
            policy = read_release(releases_folder(self._var)).log
            deleted += retain(self._var, policy, datetime.now(UTC))
            self._due_s = time.monotonic() + EVERY_S
            if deleted:
                names = [str(path.relative_to(self._var)) for path in deleted]
                append_event(self._var, "log deleted", keep_days=policy.keep_days, segments=names)
        return deleted
