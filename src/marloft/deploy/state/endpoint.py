"""The endpoint of `marloft serve` on port 9103: `/live` as JSON, `/metrics` for Prometheus.

It answers from memory in threads of its own: neither a full disk nor a loop that waits for
somebody keeps it from saying so.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from marloft.contract import metric_names as names
from marloft.contract.live import Live
from marloft.deploy.running import LIVE_HOST, LIVE_PATH
from marloft.errors import ServingError
from marloft.files import to_json

_METRICS_PATH = "/metrics"


class ServeCollector(Collector):
    """Turns what the supervisor says into metrics, at each scrape."""

    def __init__(self, current: Callable[[], Live]) -> None:
        """Ask `current` at each scrape."""
        self._current = current

    def collect(self) -> Iterable[Metric]:
        """Return the metrics."""
        live = self._current()
        yield GaugeMetricFamily(names.SERVE_LIVE, "1: what runs is the release.", int(live.live))
        fault = GaugeMetricFamily(names.SERVE_FAULT, "1 as long as it lasts.", labels=["subject"])
        for subject in live.faults:
            fault.add_metric([subject], 1)
        yield fault
        seen = time.time() - live.age_s
        yield GaugeMetricFamily(names.SERVE_LAST_LOOK, "When the loop came round last.", seen)
        restarts = CounterMetricFamily(names.SERVE_RESTARTS, "Starts again.", labels=["process"])
        for process, count in live.restarts.items():
            restarts.add_metric([process], count)
        yield restarts
        yield _versions(live)


@contextmanager
def answering(port: int, current: Callable[[], Live]) -> Iterator[None]:
    """Answer on loopback with what `current` returns, as long as the block lasts.

    Raises:
        ServingError: the port is taken.
    """
    registry = CollectorRegistry()
    registry.register(ServeCollector(current))
    try:
        server = _Server((LIVE_HOST, port), _handler(current, registry))
    except OSError as error:
        raise ServingError(
            f"port {port} for what `marloft serve` says is not usable ({error.strerror}); stop "
            "what holds it or shift all ports with `--port-offset 100`."
        ) from None
    thread = Thread(target=server.serve_forever, args=(0.1,), name="status", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # A client that is slow must not hold up the end.
    block_on_close = False


def _handler(
    current: Callable[[], Live], registry: CollectorRegistry
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            if self.path == LIVE_PATH:
                self._answer(HTTPStatus.OK, "application/json", to_json(current()))
            elif self.path == _METRICS_PATH:
                self._answer(HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(registry))
            else:
                said = f"GET {LIVE_PATH} or {_METRICS_PATH}.\n".encode()
                self._answer(HTTPStatus.NOT_FOUND, "text/plain", said)

        def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Say nothing: the console is for people."""

    return Handler


def _versions(live: Live) -> Metric:
    gauge = GaugeMetricFamily(
        names.SERVE_VERSION, "1 for the state that it has.", labels=["model", "version", "state"]
    )
    for model, versions in live.versions.items():
        for version, state in versions.items():
            gauge.add_metric([model, version, state.state], 1)
    return gauge
