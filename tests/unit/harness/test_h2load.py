"""The generator: what it counts, at the rate that was asked for, and what it says when it fails."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

import numpy as np
import pytest

from harness.h2load import percentile_ms, send_load
from marloft.errors import ConfigError
from tests.required_programs import program

TIMES = count()


class Gateway(BaseHTTPRequestHandler):
    """Refuses every third request."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(503 if next(TIMES) % 3 == 0 else 200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    program("h2load", "apt-get install nghttp2-client")
    with ThreadingHTTPServer(("127.0.0.1", 0), Gateway) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/predict"
        server.shutdown()
        thread.join()


def test_answers_are_counted_at_the_rate_asked_for(url: str) -> None:
    sent = send_load(url, b"{}", seconds=2, connections=4, rate=40)
    assert 20 <= sent.status.size <= 90
    assert set(sent.status.tolist()) == {200, 503}
    assert sent.good.sum() + sent.refused.sum() == sent.status.size
    assert sent.good.sum() > sent.refused.sum()
    assert 0 < (percentile_ms(sent.took_ms, 99) or 0) < 2000
    assert sent.cores < 1


def test_percentile_of_nothing_is_none() -> None:
    assert percentile_ms(np.array([]), 99) is None
    assert percentile_ms(np.array([1.0, 2.0, 3.0]), 50) == 2.0


def test_cure_is_said_when_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match="apt-get install nghttp2-client"):
        send_load("http://127.0.0.1:9", b"", seconds=1, connections=1)
