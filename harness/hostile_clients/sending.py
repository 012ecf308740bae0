"""Sends bytes as they are and says what came back: which answers, and whether it ended in time."""

import asyncio
import contextlib
import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence

from msgspec import Struct

# What no client may cause; 503 is a refusal when it says when to come back.
SERVER_ERRORS = frozenset({500, 502, 504})
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) ?")
_READ = 1 << 16


class RawRequest(Struct, frozen=True, kw_only=True):
    """Bytes for one connection.

    `answers` is how many a server may give to them at most: the client has heard enough then.
    `hangs_up` ends the client's side after the last byte, as a client does that has lost patience
    with a request which the server must wait for.
    """

    kind: str
    data: bytes
    answers: int = 1
    hangs_up: bool = False


class RawAnswer(Struct, frozen=True, kw_only=True):
    """What came back on one connection.

    `hung` says that it was neither answered nor closed. `bare_503` are the 503s without
    Retry-After; `took_s` is until the last answer or the close.
    """

    kind: str
    statuses: list[int]
    bare_503: int
    hung: bool
    took_s: float


async def ask(host: str, port: int, request: RawRequest, limit_s: float) -> RawAnswer:
    """Send a request on a connection of its own and wait for its answers or the close."""
    started = time.monotonic()
    received, hung = bytearray(), False
    reader, writer = await asyncio.open_connection(host, port)
    try:
        async with asyncio.timeout(limit_s):
            # A server may answer and close before it has read everything.
            with contextlib.suppress(ConnectionError):
                writer.write(request.data)
                await writer.drain()
                if request.hangs_up:
                    writer.write_eof()
                while len(_finals(received)) < request.answers:
                    data = await reader.read(_READ)
                    if not data:
                        break
                    received += data
    except TimeoutError:
        hung = not _finals(received)
    finally:
        writer.transport.abort()
    answers = _finals(received)
    return RawAnswer(
        kind=request.kind,
        statuses=[status for status, _ in answers],
        bare_503=sum(status == 503 and b"retry-after:" not in head for status, head in answers),
        hung=hung,
        took_s=round(time.monotonic() - started, 3),
    )


async def ask_all(
    host: str, port: int, requests: Iterable[RawRequest], *, rate: float, limit_s: float
) -> list[RawAnswer]:
    """Send requests at a steady rate, none waiting for another one's answer; any order back."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with asyncio.TaskGroup() as group:
        tasks = []
        for number, request in enumerate(requests):
            await asyncio.sleep(max(0.0, started + number / rate - loop.time()))
            tasks.append(group.create_task(ask(host, port, request, limit_s)))
    return [task.result() for task in tasks]


def server_errors(answers: Sequence[RawAnswer]) -> dict[str, int]:
    """Return what no client may cause, as "kind: status", and how often it was seen."""
    found: Counter[str] = Counter()
    for answer in answers:
        found.update(f"{answer.kind}: {s}" for s in answer.statuses if s in SERVER_ERRORS)
        if answer.bare_503:
            found[f"{answer.kind}: 503 without Retry-After"] += answer.bare_503
    return dict(found)


def _finals(received: bytes | bytearray) -> list[tuple[int, bytes]]:
    """Return (status, head in lower case) of each whole answer, 100 Continue and the like left out.

    The bytes of a body are passed over by its framing, so that none is taken for an answer.
    """
    found: list[tuple[int, bytes]] = []
    at = 0
    while (status := _STATUS.match(received, at)) is not None:
        end = received.find(b"\r\n\r\n", at)
        if end < 0:
            break
        head = bytes(received[at:end]).lower()
        at = _body_end(received, end + 4, head, int(status[1]))
        if at < 0:
            break
        if int(status[1]) >= 200:
            found.append((int(status[1]), head))
    return found


def _body_end(received: bytes | bytearray, start: int, head: bytes, status: int) -> int:
    """Return where the body that begins at `start` ends, -1 while it is not all there."""
    if status < 200 or status in (204, 304):
        return start
    if b"\r\ntransfer-encoding: chunked" in head:
        end = received.find(b"0\r\n\r\n", start)
        return end + 5 if end >= 0 else -1
    length = re.search(rb"\r\ncontent-length: (\d+)", head)
    if length is None:
        return len(received)
    end = start + int(length[1])
    # The answer to a HEAD says a length and has no body; nothing follows it here.
    return end if end <= len(received) or len(received) == start else -1
