"""Deletes log segments that the newest release no longer keeps, and tells people which."""

import time
from datetime import UTC, datetime
from pathlib import Path

from marloft.contract.release import read_release, releases_folder
from marloft.deploy.events import append_event
from marloft.logs.retain import retain

EVERY_S = 3600.0


class Retention:
    """Looks once an hour, since `keep_days` counts in days."""

    def __init__(self, var: Path) -> None:
        """Look at the first step."""
        self._var = var
        self._due_s = 0.0

    def step(self) -> list[Path]:
        """Delete what is too old, when the hour has passed; return the deleted segments.

        Raises:
            ReleaseError: there is no release.
            ConfigError: the release, or the footer of a segment, is damaged.
        """
        if time.monotonic() < self._due_s:
            return []
        self._due_s = time.monotonic() + EVERY_S
        policy = read_release(releases_folder(self._var)).log
        deleted = retain(self._var, policy, datetime.now(UTC))
        if deleted:
            names = [str(path.relative_to(self._var)) for path in deleted]
            append_event(self._var, "log deleted", keep_days=policy.keep_days, segments=names)
        return deleted
