"""Clients that a gateway meets besides good ones: slow to send or read, gone too soon, many."""

import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Self

# Without a user, so that each request may fall into another arm of a roll-out.
BODY = json.dumps({"features": [{"item_id": 50}, {"item_id": 3}]}).encode()
_HEAD = (
    "POST /predict HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n"
    f"content-type: application/json\r\ncontent-length: {len(BODY)}\r\n\r\n"
).encode()


def send_slowly(port: int, pause_s: float) -> int:
    """Send the body so long after its header; return the status of the answer."""
    with _connect(port) as link:
        link.sendall(_HEAD)
        time.sleep(pause_s)
        link.sendall(BODY)
        return _status(link)


def read_slowly(port: int, pause_s: float) -> int:
    """Begin to read so long after the request was sent; return the status of the answer."""
    with _connect(port) as link:
        link.sendall(_HEAD + BODY)
        time.sleep(pause_s)
        return _status(link)


def leave(port: int, pause_s: float) -> int:
    """Reset the connection so long after the request was sent; return 0."""
    with _connect(port) as link:
        link.sendall(_HEAD + BODY)
        time.sleep(pause_s)
        # With no time to linger, closing is a reset.
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return 0


def flood(port: int, count: int) -> list[int]:
    """Send so many requests at once; return the statuses of their answers."""
    with ExitStack() as stack:
        links = [stack.enter_context(_connect(port)) for _ in range(count)]
        for link in links:
            link.sendall(_HEAD + BODY)
        return [_status(link) for link in links]


class Clients:
    """Threads that each behave in one way, again and again, as long as the block lasts."""

    def __init__(self, *behaviours: Callable[[], int]) -> None:
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._behave, args=(each,), daemon=True) for each in behaviours
        ]
        self.statuses: list[int] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _behave(self, behaviour: Callable[[], int]) -> None:
        while not self._stop.is_set():
            self.statuses.append(behaviour())


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def _status(link: socket.socket) -> int:
    answer = b""
    while chunk := link.recv(65536):
        answer += chunk
    return int(answer.split(maxsplit=2)[1])
