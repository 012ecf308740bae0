"""Requests at a fixed rate from a few threads, every answer kept."""

import concurrent.futures
import threading
import time
from typing import Generic, Self, TypeVar

import httpx

Answer = TypeVar("Answer")


class Paced(Generic[Answer]):
    """Asks `rate` times per second for as long as its block lasts; a subclass says what.

    The schedule is fixed (open loop): a slow answer does not make the next request later, unless
    all threads wait.
    """

    def __init__(self, rate: float, threads: int, timeout_s: float) -> None:
        """Prepare `threads` threads, each with a connection of its own."""
        self._pause_s, self._threads, self._timeout_s = threads / rate, threads, timeout_s
        self._stop = threading.Event()
        self._pool = concurrent.futures.ThreadPoolExecutor(threads)
        self._kept: list[Answer] = []

    def __enter__(self) -> Self:
        """Start asking."""
        self._started = time.monotonic()
        self._loops = [self._pool.submit(self._loop, n) for n in range(self._threads)]
        return self

    def __exit__(self, *_: object) -> None:
        """Stop asking and wait for the last answers; a thread's own fault is raised here."""
        self._stop.set()
        self._pool.shutdown()
        for loop in self._loops:
            loop.result()

    def now(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self._started

    def _ask(self, client: httpx.Client, user: int) -> Answer:
        """Ask once for `user`; each call gets another one."""
        raise NotImplementedError

    def _loop(self, number: int) -> None:
        user = number
        with httpx.Client(timeout=self._timeout_s) as client:
            due = time.monotonic() + number * self._pause_s / self._threads
            while not self._stop.is_set():
                time.sleep(max(0.0, due - time.monotonic()))
                due += self._pause_s
                user += self._threads
                self._kept.append(self._ask(client, user))
