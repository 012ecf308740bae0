"""Asking `/health`: every answer but 200, and none at all, is a false alarm."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

from harness.health_watch import HealthWatch

TIMES = count()


class Health(BaseHTTPRequestHandler):
    """Says 503 at the second look."""

    def do_GET(self) -> None:
        self.send_response(503 if next(TIMES) == 1 else 200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_alarms_are_counted() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Health) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        with HealthWatch(f"http://127.0.0.1:{server.server_port}", every_s=0.02) as watch:
            while len(watch.answers) < 3:
                time.sleep(0.01)
        server.shutdown()
        thread.join()
    assert [status for _, status in watch.answers[:3]] == [200, 503, 200]
    assert watch.false_alarms == 1


def test_no_answer_is_an_alarm() -> None:
    with HealthWatch("http://127.0.0.1:9") as watch:
        while not watch.answers:
            time.sleep(0.01)
    assert watch.answers[0][1] == 0
    assert watch.false_alarms >= 1
