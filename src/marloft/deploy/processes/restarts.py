"""Keeps a process running and answering: at once after its first end, then with growing pauses."""

import time
from collections.abc import Callable
from typing import Literal

from marloft.deploy.faults import Faults
from marloft.deploy.processes.process import ManagedProcess
from marloft.deploy.processes.watchdog import Watchdog
from marloft.errors import MarloftError

_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
# A process that ran for so long has recovered: its next end is a first one again.
_HEALTHY_S = 60.0
_CRASH_LOOP = 5
# Longer than busy cores make an answer wait, and soon enough for a person to be told.
_SUSPECT_S = 3.0


class Restarter:
    """Restarts one process; never waits, so that the others are looked after meanwhile.

    While something is wrong with the process it is a fault, under the process's name.
    """

    def __init__(
        self,
        process: ManagedProcess,
        watchdog: Watchdog,
        faults: Faults,
        on_end: Callable[[str], None],
        *,
        is_ready: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin with a process that runs.

        Args:
            process: what to keep running.
            watchdog: asks it whether it answers.
            faults: where it is said what is wrong with it.
            on_end: called with the last words before the process is started again.
            is_ready: False when it is still starting.
            clock: seconds that never go back.
        """
        self._process, self._watchdog, self._faults = process, watchdog, faults
        self._on_end, self._clock = on_end, clock
        self._state: Literal["up", "starting", "down"] = "up" if is_ready else "starting"
        self._since = clock()
        self._ends = 0
        self._due = 0.0

    @property
    def is_steady(self) -> bool:
        """Whether there is nothing to do."""
        if self._state == "down":
            return self._clock() < self._due
        return self._state == "up" and self._process.is_alive()

    def answered(self) -> None:
        """Note that the process has answered somebody."""
        self._watchdog.answered()

    def restart_if_due(self) -> bool:
        """Do what is due and return whether the process runs, is ready and answers."""
        now = self._clock()
        if self._state != "down" and not self._process.is_alive():
            self._ended(now, self._process.last_words())
        elif self._state == "starting":
            self._wait_until_ready(now)
        elif self._state == "up":
            self._watch(now)
        if self._state == "down" and now >= self._due:
            self._spawn(now)
        return self._state == "up" and self._watchdog.silent_s < _SUSPECT_S

    def _wait_until_ready(self, now: float) -> None:
        if self._process.probe():
            self._state, self._since = "up", now
            self._watchdog.answered()
            self._faults.over(self._process.name)
        elif now - self._since > self._process.start_s:
            self._ended(now, f"was not ready in {self._process.start_s:g} s.")

    def _watch(self, now: float) -> None:
        silent_s, limit_s = self._watchdog.silent_s, self._process.answer_s
        if silent_s > limit_s:
            self._ended(now, f"did not answer for {limit_s:g} s.")
        elif silent_s >= _SUSPECT_S:
            self._faults.found(
                self._process.name, f"does not answer; it is started again after {limit_s:g} s"
            )
        else:
            self._faults.over(self._process.name)

    def _spawn(self, now: float) -> None:
        try:
            self._process.spawn()
        except (OSError, MarloftError) as error:
            self._ended(now, f"cannot be started: {error}.")
        else:
            self._state, self._since = "starting", now

    def _ended(self, now: float, why: str) -> None:
        if self._state == "up" and now - self._since > _HEALTHY_S:
            self._ends = 0
        self._ends += 1
        pause_s = 0.0
        if self._ends > 1:
            pause_s = min(_LONGEST_PAUSE_S, _PAUSE_S * 2 ** (self._ends - 2))
        again = f"started again in {pause_s:g} s" if pause_s else "started again"
        loop = f"; it ended {self._ends} times in a row" if self._ends >= _CRASH_LOOP else ""
        said = why.removeprefix(f"{self._process.name} ")
        self._faults.found(self._process.name, f"{said} It is {again}{loop}.")
        # What is left of its process group holds the ports.
        self._process.stop(patience_s=0)
        self._state, self._due = "down", now + pause_s
        self._on_end(why)
