"""Asks `/health` each second, as a balancer does, and keeps what it said."""

import threading
import time
from typing import Self

import httpx2

# What a Kubernetes probe waits by default is 1 s; the gateway's own limit is the same.
_TIMEOUT_S = 2.0


class HealthWatch:
    """Asks for as long as its block lasts; `answers` has (seconds since the start, status).

    The status is 0 when no answer came in 2 s.
    """

    def __init__(self, gateway: str, every_s: float = 1.0) -> None:
        """Prepare to ask a gateway, as `http://127.0.0.1:8000`."""
        self._url, self._every_s = f"{gateway}/health", every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask_on)
        self.answers: list[tuple[float, int]] = []

    def __enter__(self) -> Self:
        """Start asking."""
        self._started = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop asking."""
        self._stop.set()
        self._thread.join()

    @property
    def false_alarms(self) -> int:
        """How often it did not say 200."""
        return sum(status != 200 for _, status in self.answers)

    def _ask_on(self) -> None:
        with httpx2.Client(timeout=_TIMEOUT_S) as client:
            while True:
                asked_s = time.monotonic() - self._started
                try:
                    status = client.get(self._url).status_code
                except httpx2.HTTPError:
                    status = 0
                self.answers.append((asked_s, status))
                if self._stop.wait(self._every_s):
                    return
