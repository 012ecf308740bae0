"""The driver: every answer is kept as it came, at the rate that was asked for."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from harness.driver import Driver

GOOD = {"model_version": "v1.0", "request_id": "a"}


class Gateway(BaseHTTPRequestHandler):
    """Refuses every third user."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        refused = asked["user_id"] % 3 == 0
        body = b"queue full" if refused else json.dumps(GOOD).encode()
        self.send_response(503 if refused else 200)
        if refused:
            self.send_header("retry-after", "1")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def gateway() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Gateway) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def driver(gateway: str, rate: float) -> Driver:
    return Driver(gateway, rate, items=(1, 2), threads=2, timeout_s=5)


def test_good_and_refused_answers_are_kept_as_they_came(gateway: str) -> None:
    with driver(gateway, 200) as driving:
        driving.live = 7
        driving.wait_for(12)
    good = [sent for sent in driving.sent if sent.status == 200]
    refused = [sent for sent in driving.sent if sent.status == 503]
    assert len(good) + len(refused) == len(driving.sent)
    assert {(sent.version, sent.request_id, sent.detail) for sent in good} == {("v1.0", "a", "")}
    assert {(sent.retry_after, sent.detail) for sent in refused} == {(True, "queue full")}
    assert {sent.user % 3 == 0 for sent in refused} == {True}
    assert driving.sent[-1].release == 7
    assert len({sent.user for sent in driving.sent}) == len(driving.sent)


def test_rate_is_the_one_asked_for(gateway: str) -> None:
    with driver(gateway, 40) as driving:
        time.sleep(1)
    assert 20 <= len(driving.sent) <= 45
    assert all(0 <= sent.sent_s < 2 for sent in driving.sent)


def test_connection_that_is_refused_is_status_0() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with driver(f"http://127.0.0.1:{taken.getsockname()[1]}", 50) as driving:
            driving.wait_for(1)
    assert driving.sent[0].status == 0
    assert "ConnectError" in driving.sent[0].detail
