"""Throttled logging of a failure that repeats with every batch."""

import logging
import time
from collections.abc import Callable


class LogThrottle:
    """Logs the first failure, then one a minute at most, with the number since the last one."""

    def __init__(
        self,
        logger: logging.Logger,
        text: str,
        *,
        every_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Log `text` and tracebacks to `logger`; `clock` counts seconds and never goes back."""
        self._logger, self._text, self._every_s, self._clock = logger, text, every_s, clock
        self._due: float | None = None
        self._since = 0

    def log(self, error: BaseException) -> None:
        """Log or count one failure."""
        now = self._clock()
        self._since += 1
        if self._due is not None and now < self._due:
            return
        self._logger.error(
            "%s (%d failures since the last line)", self._text, self._since, exc_info=error
        )
        self._due, self._since = now + self._every_s, 0
