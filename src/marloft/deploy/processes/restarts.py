"""Keeps a process running: at once after its first end, then with growing pauses."""

import time
from collections.abc import Callable
from typing import Literal

from marloft.deploy.processes.process import ManagedProcess
from marloft.deploy.project import Report

_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
# A process that ran for so long has recovered: its next end is a first one again.
_HEALTHY_S = 60.0
_CRASH_LOOP = 5


class Restarter:
    """Restarts one process; never waits, so that the others are looked after meanwhile."""

    def __init__(
        self,
        process: ManagedProcess,
        report: Report,
        on_end: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with a process that runs.

        Args:
            process: what to keep running.
            report: tells people.
            on_end: called with the last words before the process is started again.
            clock: seconds that never go back.
        """
        self._process, self._report, self._on_end, self._clock = process, report, on_end, clock
        self._state: Literal["up", "starting", "down"] = "up"
        self._since = clock()
        self._ends = 0
        self._due = 0.0

    @property
    def is_steady(self) -> bool:
        """Whether there is nothing to do."""
        return self._state == "up" and self._process.is_alive()

    def restart_if_due(self) -> bool:
        """Do what is due and return whether the process runs and is ready."""
        now = self._clock()
        if self._state != "down" and not self._process.is_alive():
            self._ended(now, self._process.last_words())
        elif self._state == "starting" and self._process.probe():
            self._state, self._since = "up", now
            self._report(f"{self._process.name} runs again")
        elif self._state == "starting" and now - self._since > self._process.start_s:
            limit_s = self._process.start_s
            self._ended(now, f"{self._process.name} was not ready in {limit_s:g} s.")
        if self._state == "down" and now >= self._due:
            self._process.spawn()
            self._state, self._since = "starting", now
        return self._state == "up"

    def _ended(self, now: float, why: str) -> None:
        if self._state == "up" and now - self._since > _HEALTHY_S:
            self._ends = 0
        self._ends += 1
        pause_s = 0.0
        if self._ends > 1:
            pause_s = min(_LONGEST_PAUSE_S, _PAUSE_S * 2 ** (self._ends - 2))
        again = f"started again in {pause_s:g} s" if pause_s else "started again"
        loop = f"; it ended {self._ends} times in a row" if self._ends >= _CRASH_LOOP else ""
        self._report(f"{why} It is {again}{loop}.")
        # What is left of its process group holds the ports.
        self._process.stop(patience_s=0)
        self._on_end(why)
        self._state, self._due = "down", now + pause_s
