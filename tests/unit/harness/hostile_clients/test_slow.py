"""Slow clients: what they send while they wait, and when they count as hung."""

import asyncio
import time

import pytest

from harness.hostile_clients.sending import RawAnswer
from harness.hostile_clients.slow import KINDS, Kind, slow_client, slow_clients

TIMEOUT = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n"


def told(kind: Kind, *, patience_s: float, limit_s: float) -> tuple[RawAnswer, int]:
    """Return what a client says of a server that gives up after a while, and the bytes it sent."""

    async def run() -> tuple[RawAnswer, int]:
        received = bytearray()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            until = time.monotonic() + patience_s
            while (left := until - time.monotonic()) > 0:
                try:
                    data = await asyncio.wait_for(reader.read(1 << 16), left)
                except TimeoutError:
                    break
                if not data:
                    break
                received.extend(data)
            writer.write(TIMEOUT)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        found = await slow_client("127.0.0.1", port, kind, limit_s)
        server.close()
        await asyncio.sleep(0.05)
        return found, len(received)

    return asyncio.run(run())


@pytest.mark.parametrize(("kind", "most"), [("slow header", 4), ("slow body", 200), ("idle", 0)])
def test_slow_client_is_answered_when_the_server_gives_up(kind: Kind, most: int) -> None:
    answer, sent = told(kind, patience_s=0.7, limit_s=10)
    assert (answer.kind, answer.statuses, answer.hung) == (kind, [408], False)
    assert sent <= most
    assert (sent > 0) == (most > 0)


@pytest.mark.slow
def test_slow_reader_sees_the_close() -> None:
    answer, _ = told("slow reading", patience_s=0.1, limit_s=6)
    assert (answer.statuses, answer.hung) == ([408], False)


def test_client_of_a_server_that_never_gives_up_hangs() -> None:
    answer, _ = told("idle", patience_s=5, limit_s=0.3)
    assert (answer.statuses, answer.hung) == ([], True)


def test_kinds_are_shared_out() -> None:
    async def run() -> list[RawAnswer]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        found = await slow_clients("127.0.0.1", port, 8, 10)
        server.close()
        return found

    assert sorted(answer.kind for answer in asyncio.run(run())) == sorted(2 * KINDS)
