"""The exporter over real HTTP: workers' files merged, the dead included, and the live gauges."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from marloft.contract import metric_names as names
from marloft.errors import ServingError
from marloft.monitoring.exporter import WORKERS_FOLDER, exporting
from marloft.serving.metric_files import FOLDER_ENV
from tests.unit.monitoring.test_live import answer, append, outcome

pytestmark = pytest.mark.slow


_WORKER = """
from marloft.serving.exchange import Received, Response, finish
from marloft.serving.metrics import WorkerMetrics
metrics = WorkerMetrics("ranker", "{version}")
received = Received(index=0, row={{}}, headers={{}}, torchserve_id="a", request_id="a")
for _ in range({count}):
    metrics.answered(finish([received], [Response()]))
"""


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        number: int = probe.getsockname()[1]
    return number


def work(var: Path, version: str, count: int) -> None:
    """Count in a process of its own, which ends as a killed worker does: without good-bye."""
    code = _WORKER.format(version=version, count=count)
    env = os.environ | {FOLDER_ENV: str(var / WORKERS_FOLDER)}
    subprocess.run([sys.executable, "-c", code], env=env, check=True)


def scrape(var: Path, port: int) -> dict[tuple[str, str], float]:
    """Return samples by name and version."""
    with exporting(var, port):
        response = httpx2.get(f"http://127.0.0.1:{port}/metrics")
    assert response.status_code == 200
    families = text_string_to_metric_families(response.text)
    return {
        (sample.name, sample.labels.get("version", "")): sample.value
        for family in families
        for sample in family.samples
        if sample.labels.get("status", "2xx") == "2xx"
    }


def test_workers_are_merged_and_what_dead_ones_counted_stays(tmp_path: Path, port: int) -> None:
    work(tmp_path, "1.0", 3)
    work(tmp_path, "1.0", 4)
    work(tmp_path, "2.0", 5)
    found = scrape(tmp_path, port)
    assert found[names.REQUESTS, "1.0"] == 7
    assert found[names.REQUESTS, "2.0"] == 5
    assert found[f"{names.STAGE_SECONDS}_count", "1.0"] == 7


def test_every_exported_name_is_a_known_one(tmp_path: Path, port: int) -> None:
    work(tmp_path, "1.0", 1)
    append(tmp_path, "predictions", answer("a", [0.9, 0.1]))
    append(tmp_path, "outcomes", outcome("a", 1))
    known = {value for value in vars(names).values() if isinstance(value, str)}
    for name, _ in scrape(tmp_path, port):
        stem = name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
        assert name in known or stem in names.HISTOGRAMS, name


def test_live_quality_is_exported_with_its_window(tmp_path: Path, port: int) -> None:
    append(tmp_path, "predictions", answer("a", [0.9, 0.1]))
    append(tmp_path, "outcomes", outcome("a", 1))
    with exporting(tmp_path, port):
        text = httpx2.get(f"http://127.0.0.1:{port}/metrics").text
    labels = 'arm="",experiment="",model="ranker",role="",version="1.0",window="300s"'
    assert f"{names.CTR}{{{labels}}} 0.5" in text
    assert f"{names.ACCURACY}{{{labels}}} 1.0" in text


def test_port_in_use_is_named(tmp_path: Path, port: int) -> None:
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(ServingError, match=f"port {port} for the metrics"),
        exporting(tmp_path, port),
    ):
        pass
