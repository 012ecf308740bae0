"""Asks a process all the time whether it answers: one that is stopped or stuck is still alive."""

import threading
import time
from collections.abc import Callable
from typing import Self

_EVERY_S, _PATIENCE_S = 1.0, 5.0


class Watchdog:
    """Asks in a thread of its own, so that nobody waits for the answer; a context manager."""

    def __init__(
        self,
        ask: Callable[[float], bool],
        *,
        every_s: float = _EVERY_S,
        patience_s: float = _PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Ask nothing yet.

        Args:
            ask: asks once, for the given seconds at most; whether there was an answer.
            every_s: seconds between an answer, or none, and the next question.
            patience_s: seconds that one question may wait.
            clock: seconds that never go back.
        """
        self._ask, self._clock = ask, clock
        self._every_s, self._patience_s = every_s, patience_s
        self._silent_s = 0.0
        self._asked_at: float | None = None
        self._end = threading.Event()

    def __enter__(self) -> Self:
        """Begin to ask."""
        threading.Thread(target=self._run, name="watchdog", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ask no more; a question under way ends by itself."""
        self._end.set()

    @property
    def silent_s(self) -> float:
        """Seconds of questions without an answer since the last one.

        A question counts for its patience at most: when the whole machine was asleep, or this
        process stopped, nobody was silent.
        """
        return self._silent_s + self._waited_s()

    def answered(self) -> None:
        """Note an answer that somebody else got."""
        self._silent_s = 0.0
        if self._asked_at is not None:
            self._asked_at = self._clock()

    def ask(self) -> None:
        """Ask once."""
        self._asked_at = self._clock()
        if self._ask(self._patience_s):
            self._silent_s = 0.0
        else:
            # It may have been refused at once.
            self._silent_s += max(self._waited_s(), min(self._every_s, self._patience_s))
        self._asked_at = None

    def _waited_s(self) -> float:
        asked_at = self._asked_at
        waited_s = 0.0 if asked_at is None else self._clock() - asked_at
        return min(waited_s, self._patience_s)

    def _run(self) -> None:
        while not self._end.wait(self._every_s):
            self.ask()
