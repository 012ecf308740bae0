"""Stopping `marloft serve` loses no request: under load, and with one of long duration."""

import concurrent.futures
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from harness import factories
from tests.e2e.running import Driver, Serving, configure, marloft, records

pytestmark = pytest.mark.e2e

DEPLOYMENT = """\
default_model: ranker
models:
  ranker: {versions: {"1.0": {max_batch_delay_ms: 1500}}, default: "1.0"}
"""
QUICK = DEPLOYMENT.replace("1500", "5")
TWO = [{"item_id": 50}, {"item_id": 3}]


def started(folder: Path, deployment: str, *options: str) -> Serving:
    factories.write_project(folder, torchscript=True)
    configure(folder, deployment)
    marloft(folder, "apply")
    return Serving(folder, *options)


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A serving whose every request waits 1.5 s in its batch."""
    with started(tmp_path_factory.mktemp("slow"), DEPLOYMENT) as serving:
        yield serving


def test_sigterm_under_load_loses_no_request(tmp_path: Path) -> None:
    """Clients ask until `/health` refuses, as a balancer lets them, on kept connections."""
    with started(tmp_path, QUICK, "--drain-s", "2") as serving:
        assert "connection" not in serving.predict(features=TWO).headers
        health = f"{serving.client.base_url}/health"
        with Driver(serving, rate=80) as driver:
            time.sleep(1.5)
            serving.process.send_signal(signal.SIGTERM)
            signalled_s = driver.now()
            while "connection" not in (told := serving.predict(features=TWO)).headers:
                assert driver.now() < signalled_s + 2, "no answer ended its connection"
                time.sleep(0.05)
            assert (told.status_code, told.headers["connection"]) == (200, "close")
            while httpx2.get(health, timeout=2).status_code == 200:
                assert driver.now() < signalled_s + 2, "/health never refused"
                time.sleep(0.05)
            time.sleep(0.7)
        assert serving.process.wait(timeout=40) == 0
        assert [sent for sent in driver.sent if sent.status != 200] == []
        after = [sent for sent in driver.sent if sent.sent_s > signalled_s]
        assert len(after) > 20
        answered = {sent.request_id for sent in driver.sent}
        assert answered <= {record.request_id for record in records(tmp_path)}
        assert "stopped, 0 requests without an answer" in serving.console.read_text()


def test_operations_listener_reads_and_changes_nothing(slow: Serving) -> None:
    with httpx2.Client(base_url=f"http://127.0.0.1:{slow.ports.operations}") as operations:
        assert operations.get("/ping").json() == {"status": "Healthy"}
        assert "envoy_http_downstream_rq_active" in operations.get("/metrics/gateway").text
        assert operations.get("/metrics/torchserve").status_code == 200
        assert slow.predict(features=TWO).status_code == 200
        assert "marloft_requests_total{" in operations.get("/metrics/workers").text
        assert operations.get("/models").json()["models"][0]["modelName"] == "ranker"
        assert operations.get("/models/ranker/1.0").json()[0]["modelVersion"] == "1.0"
        assert operations.post("/models").status_code == 404
        assert operations.delete("/models/ranker/1.0").status_code == 404
        for path in ("/quitquitquit", "/metrics/gateway/../../quitquitquit", "/predictions/ranker"):
            assert operations.request("POST", path).status_code == 404
            assert operations.get(path).status_code == 404


def test_stop_answers_what_is_under_way_and_then_closes_the_port(slow: Serving) -> None:
    """Last in this module: it stops the shared serving."""
    begun = threading.Event()

    def ask() -> httpx2.Response:
        begun.set()
        return httpx2.post(f"{slow.client.base_url}/predict", json={"features": TWO}, timeout=20)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask)
        begun.wait()
        time.sleep(0.5)
        slow.process.send_signal(signal.SIGINT)
        assert asked.result().status_code == 200
    assert slow.process.wait(timeout=40) == 0
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{slow.client.base_url}/health")
