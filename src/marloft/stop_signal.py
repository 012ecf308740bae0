"""Asks a program to end, by SIGINT or SIGTERM, without a lock that it could wait for itself.

Python runs a signal's handler between two instructions of the main thread. `threading.Event.set`
takes the event's lock, which the main thread may hold in that moment, in `Event.wait`: then it
waits for itself for ever. So the handler writes to a pipe, and `wait` polls it.
https://docs.python.org/3/library/signal.html#execution-of-python-signal-handlers
"""

import os
import select
import signal
from typing import Protocol


class Stop(Protocol):
    """What a loop asks whether it should end; a `threading.Event` is one too."""

    def is_set(self) -> bool:
        """Whether the end was asked for."""
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Return `is_set()` once it is, or after `timeout` seconds."""
        ...


class StopSignal:
    """Set by SIGINT and SIGTERM, once `install` has been called."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._asked = False
        self._poll = select.poll()
        self._poll.register(self._read, select.POLLIN)

    def install(self) -> None:
        """Handle both signals from now on; the main thread alone may call it."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: self.set())

    def set(self) -> None:
        """Ask for the end."""
        if not self._asked:
            self._asked = True
            os.write(self._write, b"\0")

    def is_set(self) -> bool:
        """Whether the end was asked for."""
        return self._asked

    def wait(self, timeout: float | None = None) -> bool:
        """Return `is_set()` once it is, or after `timeout` seconds."""
        self._poll.poll(None if timeout is None else timeout * 1e3)
        return self._asked
