"""What came back on a raw connection: answers, refusals without a word, and silence."""

import asyncio
from collections.abc import Sequence

from harness.hostile_clients.sending import RawAnswer, RawRequest, ask, ask_all, server_errors

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\nHTTP/1.1 500 no"
CHUNKED = b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
LATER = b"HTTP/1.1 503 x\r\nretry-after: 1\r\nContent-Length: 0\r\n\r\n"
BARE = b"HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def told(
    *answers: bytes, closes: bool = False, expected: int = 1, limit_s: float = 0.3
) -> RawAnswer:
    """Return what `ask` says of a server that gives these answers."""
    return asyncio.run(_told(answers, closes, expected, limit_s))


async def _told(answers: Sequence[bytes], closes: bool, expected: int, limit_s: float) -> RawAnswer:
    heard, ended = asyncio.Event(), asyncio.Event()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            writer.write(answer)
            await asyncio.sleep(0.01)
        if not closes:
            await heard.wait()
        writer.transport.abort()
        ended.set()

    request = RawRequest(kind="odd", data=b"x", answers=expected)
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        found = await ask_all("127.0.0.1", port, [request], rate=100, limit_s=limit_s)
        heard.set()
        await ended.wait()
    return found[0]


def test_answers_are_cut_by_their_framing() -> None:
    found = told(CONTINUE, GOOD[:30], GOOD[30:] + CHUNKED, LATER, expected=3)
    assert (found.statuses, found.hung, found.bare_503) == ([200, 404, 503], False, 0)


def test_close_without_an_answer_is_no_hang() -> None:
    found = told(closes=True)
    assert (found.statuses, found.hung) == ([], False)


def test_answer_cut_off_by_a_close_is_none() -> None:
    assert told(GOOD[:-3], closes=True).statuses == []


def test_silence_hangs() -> None:
    found = told()
    assert (found.statuses, found.hung) == ([], True)
    assert found.took_s >= 0.3


def test_half_an_answer_hangs() -> None:
    assert told(GOOD[:-3]).hung


def test_503_without_retry_after_is_a_server_error() -> None:
    assert server_errors([told(LATER), told(BARE)]) == {"odd: 503 without Retry-After": 1}


def test_each_server_error_is_found() -> None:
    answers = [
        RawAnswer(kind="path", statuses=[status], bare_503=0, hung=False, took_s=0)
        for status in (200, 400, 408, 500, 501, 502, 504, 504)
    ]
    assert server_errors(answers) == {"path: 500": 1, "path: 502": 1, "path: 504": 2}


def test_client_that_hangs_up_is_closed_at_once() -> None:
    async def patient() -> RawAnswer:
        ended = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.transport.abort()
            ended.set()

        request = RawRequest(kind="odd", data=b"GET", hangs_up=True)
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            found = await ask("127.0.0.1", server.sockets[0].getsockname()[1], request, 5)
            await ended.wait()
        return found

    assert not asyncio.run(patient()).hung
