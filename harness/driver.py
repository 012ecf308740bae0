"""A steady stream of `/predict` requests from a few threads, every answer kept."""

import concurrent.futures
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple, Self

import httpx2


class SentRequest(NamedTuple):
    """One request and what came back.

    `sent_s` counts from the driver's start, `took_s` is until the answer or the failure. `status`
    is 0 when no answer came, and `detail` then the error, as it is the body of a failed answer.
    `release` is the newest one known to be live when the request was sent.
    """

    sent_s: float
    took_s: float
    user: int
    release: int
    status: int
    version: str | None
    request_id: str | None
    retry_after: bool
    detail: str


class Driver:
    """Sends `rate` requests per second for as long as its block lasts, each for another user.

    The schedule is fixed (open loop): a slow answer does not make the next request later, unless
    all threads wait. Set `live` whenever a release has become live.
    """

    def __init__(
        self, gateway: str, rate: float, *, items: Sequence[int], threads: int, timeout_s: float
    ) -> None:
        """Prepare `threads` threads, each with a connection of its own.

        Args:
            gateway: where it answers, as `http://127.0.0.1:8000`.
            rate: requests per second, all threads together.
            items: the candidates of every request.
            threads: how many requests can be under way at once.
            timeout_s: how long an answer may take until the request counts as failed.
        """
        self._url, self._timeout_s, self._threads = f"{gateway}/predict", timeout_s, threads
        self._features = [{"item_id": item} for item in items]
        self._pause_s = threads / rate
        self._stop = threading.Event()
        self._pool = concurrent.futures.ThreadPoolExecutor(threads)
        self.live = 0
        self.sent: list[SentRequest] = []

    def __enter__(self) -> Self:
        """Start sending."""
        self._started = time.monotonic()
        self._loops = [self._pool.submit(self._loop, n) for n in range(self._threads)]
        return self

    def __exit__(self, *_: object) -> None:
        """Stop sending and wait for the last answers; a thread's own fault is raised here."""
        self._stop.set()
        self._pool.shutdown()
        for loop in self._loops:
            loop.result()

    def now(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self._started

    def wait_for(self, count: int) -> None:
        """Return when `count` more requests were answered or have failed."""
        until = len(self.sent) + count
        while len(self.sent) < until:
            time.sleep(0.05)

    def _loop(self, number: int) -> None:
        user = number
        with httpx2.Client(timeout=self._timeout_s) as client:
            due = time.monotonic() + number * self._pause_s / self._threads
            while not self._stop.is_set():
                time.sleep(max(0.0, due - time.monotonic()))
                due += self._pause_s
                user += self._threads
                self.sent.append(self._send(client, user))

    def _send(self, client: httpx2.Client, user: int) -> SentRequest:
        release, sent_s, started = self.live, self.now(), time.perf_counter()
        try:
            response = client.post(self._url, json={"user_id": user, "features": self._features})
        except httpx2.HTTPError as error:
            took_s = time.perf_counter() - started
            return SentRequest(
                sent_s, took_s, user, release, 0, None, None, retry_after=False, detail=repr(error)
            )
        took_s = time.perf_counter() - started
        good = response.status_code == 200
        answer = response.json() if good else {}
        return SentRequest(
            sent_s,
            took_s,
            user,
            release,
            response.status_code,
            answer.get("model_version"),
            answer.get("request_id"),
            retry_after="retry-after" in response.headers,
            detail="" if good else response.text[:200],
        )
