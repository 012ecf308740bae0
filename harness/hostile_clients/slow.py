"""Clients that take their time: with the header, the body, the answer, or with everything."""

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Coroutine
from typing import Literal

from harness.hostile_clients.handmade import predict
from harness.hostile_clients.sending import RawAnswer

Kind = Literal["slow header", "slow body", "slow reading", "idle"]
KINDS: tuple[Kind, ...] = ("slow header", "slow body", "slow reading", "idle")
_PAUSE_S = 0.5
# So small that an answer of a few hundred scores does not fit into the kernel's buffers.
_RECEIVE_BYTES = 2048
_ROWS = 400
# Before its limit a slow reader reads on at full speed, to see whether the other side has closed.
_DRAIN_S = 5.0


async def slow_clients(
    host: str, port: int, count: int, limit_s: float, *, arrive_s: float = 0.0
) -> list[RawAnswer]:
    """Run `count` clients, of each kind as many, until they are answered or closed.

    They come evenly over `arrive_s` seconds; at once they would be a burst of whole requests,
    since those who read slowly send theirs like anybody. Those that are neither answered nor
    closed after `limit_s` seconds count as hung; then they hang up.
    """

    async def later(number: int) -> RawAnswer:
        await asyncio.sleep(arrive_s * number / count)
        return await slow_client(host, port, KINDS[number % len(KINDS)], limit_s)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(later(number)) for number in range(count)]
    return [task.result() for task in tasks]


async def slow_client(host: str, port: int, kind: Kind, limit_s: float) -> RawAnswer:
    """Run one client of a kind, as `slow_clients` does."""
    started = time.monotonic()
    link = socket.socket()
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
    link.setblocking(False)
    loop = asyncio.get_running_loop()
    hung, received = False, bytearray()
    try:
        async with asyncio.timeout(limit_s):
            with contextlib.suppress(ConnectionError):
                await loop.sock_connect(link, (host, port))
                await _ACTS[kind](link, received, started + limit_s - _DRAIN_S)
    except TimeoutError:
        hung = True
    finally:
        link.close()
    status = received[9:12]
    statuses = [int(status)] if status.isdigit() else []
    bare = b"retry-after" not in received.lower()
    return RawAnswer(
        kind=kind,
        statuses=statuses,
        bare_503=int(statuses == [503] and bare),
        hung=hung,
        took_s=round(time.monotonic() - started, 3),
    )


async def _trickle(link: socket.socket, received: bytearray, data: bytes) -> None:
    """Send a byte at a time until something comes back or the other side closes."""
    answer = asyncio.ensure_future(_read(link, received))
    try:
        for byte in data:
            await asyncio.get_running_loop().sock_sendall(link, bytes([byte]))
            await asyncio.wait([answer], timeout=_PAUSE_S)
            if answer.done():
                break
        await answer
    finally:
        answer.cancel()
        # The loop lets go of the socket only then; its number is another client's after the close.
        await asyncio.gather(answer, return_exceptions=True)


async def _slow_header(link: socket.socket, received: bytearray, _: float) -> None:
    await _trickle(link, received, predict())


async def _slow_body(link: socket.socket, received: bytearray, _: float) -> None:
    head, body = predict(_ROWS).split(b"\r\n\r\n", 1)
    await asyncio.get_running_loop().sock_sendall(link, head + b"\r\n\r\n")
    await _trickle(link, received, body)


async def _slow_reading(link: socket.socket, received: bytearray, until: float) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(link, predict(_ROWS))
    size = 16
    while data := await loop.sock_recv(link, size):
        received += data
        if time.monotonic() < until:
            await asyncio.sleep(_PAUSE_S)
        else:
            size = 1 << 16


async def _idle(link: socket.socket, received: bytearray, _: float) -> None:
    await _read(link, received)


async def _read(link: socket.socket, received: bytearray) -> None:
    received += await asyncio.get_running_loop().sock_recv(link, 1 << 16)


_Act = Callable[[socket.socket, bytearray, float], Coroutine[None, None, None]]
_ACTS: dict[Kind, _Act] = {
    "slow header": _slow_header,
    "slow body": _slow_body,
    "slow reading": _slow_reading,
    "idle": _idle,
}
