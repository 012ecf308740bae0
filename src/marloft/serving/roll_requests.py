"""Watches the file by which a log's writers are asked for new segments.

A thread of its own looks, since whoever writes nothing for hours is asked too.
"""

import threading
import weakref
from collections.abc import Callable
from pathlib import Path

LOOK_S = 1.0


class RollRequests:
    """Calls a method when the file's bytes are others than when this was made."""

    def __init__(self, path: Path, roll: Callable[[], None], every_s: float = LOOK_S) -> None:
        """Remember what the file says now; `roll` is a bound method, whose object may go."""
        self._path, self._every_s = path, every_s
        self._roll = weakref.WeakMethod(roll)
        self._seen = _content(path)
        self._ended = threading.Event()

    def start(self) -> None:
        """Look from now on."""
        threading.Thread(target=self._watch, name="log-roll", daemon=True).start()

    def end(self) -> None:
        """Look no more."""
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(self._every_s):
            content, roll = _content(self._path), self._roll()
            if roll is None:
                return
            if content != self._seen:
                self._seen = content
                roll()
            # Or the writer would live for as long as its watch waits.
            del roll


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
