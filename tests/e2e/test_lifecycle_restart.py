"""kill -9 of TorchServe, of the gateway, of `marloft serve` and of all of them, under load."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import msgspec
import psutil
import pytest

from harness import factories
from marloft.contract.live import Live, live_path
from marloft.deploy.processes.record import ProcessRecord
from marloft.deploy.torchserve.workflows import pack_workflow
from marloft.files import read_json, write_json
from tests.e2e.running import Driver, Serving, configure, marloft

pytestmark = pytest.mark.e2e

DEPLOYMENT = """\
default_model: ranker
models:
  ranker: {versions: {"1.0": {}, "2.0": {}}, default: "1.0"}
"""
RATE = 50
# The promises on two quiet cores; `limit_s` says what they mean on busy ones.
TORCHSERVE_S, GATEWAY_S = 5.0, 2.0


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    factories.write_project(folder)
    for config in (folder / "archive_configs").glob("*.yaml"):
        if config.stem not in ("ranker_v1", "ranker_v2", "feed_ab_assign", "feed_ab_select"):
            config.unlink()
    configure(folder, DEPLOYMENT)
    pack_workflow(folder / "workflows" / "feed_ab" / "workflow.yaml", folder / "model_store")
    marloft(folder, "apply")
    return folder


@pytest.fixture(scope="module")
def serving(project: Path) -> Iterator[Serving]:
    with Serving(project) as running:
        yield running


def process_of(project: Path, name: str) -> psutil.Process:
    record = read_json(project / "var" / "run" / "processes" / f"{name}.json", ProcessRecord)
    return psutil.Process(record.pid)


def kill_torchserve(project: Path) -> None:
    family = process_of(project, "torchserve").children(recursive=True)
    assert [process.name() for process in family].count("java") == 1
    for process in family:
        process.kill()


def live(project: Path) -> Live:
    return read_json(live_path(project / "var"), Live)


def until(condition: Callable[[], bool], limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def limit_s(promise_s: float) -> float:
    """Stretch a promise by the load per core: a start is nearly all CPU time, and shared out."""
    return promise_s * (1 + os.getloadavg()[0] / (os.cpu_count() or 1))


def last_failure_s(driver: Driver) -> float:
    """Wait for a second of good answers alone; return when the last request that failed was sent.

    One good answer shows nothing: the gateway tries requests from before a death again, and the new
    TorchServe answers them some 200 ms before its version has routes again.
    """
    until(lambda: {sent.status for sent in driver.sent[-RATE:]} == {200}, 60)
    return max(sent.sent_s for sent in driver.sent if sent.status != 200)


def predicts(serving: Serving) -> bool:
    try:
        return serving.predict(user_id=7, features=[{"item_id": 50}]).status_code == 200
    except Exception as error:  # noqa: BLE001 - whatever the gateway's absence looks like
        assert "Error" in type(error).__name__
        return False


def test_torchserve_killed_is_back_with_503_meanwhile(serving: Serving, project: Path) -> None:
    with Driver(serving, RATE) as driver:
        until(lambda: len(driver.sent) > RATE // 2, 10)
        killed_s = driver.now()
        kill_torchserve(project)
        until(lambda: driver.sent[-1].status == 503, 10)
        refused = serving.predict(user_id=7, features=[{"item_id": 50}])
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert last_failure_s(driver) - killed_s < limit_s(TORCHSERVE_S)
    assert {sent.status for sent in driver.sent} == {200, 503}
    assert "TorchServe: ended with code" in serving.console.read_text()


def test_gateway_killed_is_back(serving: Serving, project: Path) -> None:
    with Driver(serving, RATE) as driver:
        until(lambda: len(driver.sent) > RATE // 2, 10)
        killed_s = driver.now()
        process_of(project, "envoy").kill()
        until(lambda: driver.sent[-1].status == 0, 5)
        assert last_failure_s(driver) - killed_s < limit_s(GATEWAY_S)


def test_serve_killed_and_started_again_fails_no_request(serving: Serving, project: Path) -> None:
    before = {name: process_of(project, name).pid for name in ("torchserve", "envoy")}
    with Driver(serving, RATE) as driver:
        until(lambda: len(driver.sent) > RATE // 2, 10)
        serving.process.kill()
        serving.process.wait()
        time.sleep(0.5)
        serving.start()
        serving.wait_for("release 1 is live")
        time.sleep(1)
    assert {sent.status for sent in driver.sent} == {200}
    assert {name: process_of(project, name).pid for name in before} == before
    assert "taken over" in serving.console.read_text()


def test_everything_killed_comes_back_with_the_release(serving: Serving, project: Path) -> None:
    serving.process.kill()
    serving.process.wait()
    process_of(project, "envoy").kill()
    kill_torchserve(project)
    serving.start()
    serving.wait_for("release 1 is live")
    assert predicts(serving)
    assert live(project).live
    assert live(project).serving == {"ranker": 1}


def test_serve_that_was_started_otherwise_replaces_what_it_finds(
    serving: Serving, project: Path
) -> None:
    before = process_of(project, "torchserve")
    config = project / "config.properties"
    serving.process.kill()
    serving.process.wait()
    config.write_text(config.read_text() + "\nmax_response_size=6553501\n")
    serving.start()
    serving.wait_for("release 1 is live")
    assert not before.is_running()
    assert predicts(serving)


def test_a_damaged_release_leaves_what_serves(serving: Serving, project: Path) -> None:
    damaged = project / "var" / "releases" / "000002.json"
    damaged.write_text("{")
    try:
        serving.wait_for("not yet:")
        until(lambda: "000002.json" in (live(project).complaint or ""), 5)
        assert serving.process.poll() is None
        assert predicts(serving)
    finally:
        damaged.unlink()
    until(lambda: live(project).live and live(project).complaint is None, 10)


def test_workflows_are_registered_again(serving: Serving, project: Path) -> None:
    fields = msgspec.json.decode((project / "var" / "releases" / "000001.json").read_bytes())
    fields |= {"release": 2, "workflows": ["feed_ab"]}
    write_json(project / "var" / "releases" / "000002.json", fields)
    serving.wait_for("release 2 is live")
    url = f"http://127.0.0.1:{serving.ports.inference}/wfpredict/feed_ab"

    def answers() -> bool:
        response = httpx2.post(url, json=factories.body(7, [3, 1, 2]), timeout=30)
        return response.status_code == 200 and "prediction" in response.json()

    assert answers()
    before = serving.console.read_text().count("register workflow feed_ab")
    kill_torchserve(project)
    until(lambda: serving.console.read_text().count("register workflow feed_ab") > before, 60)
    assert answers()
    write_json(
        project / "var" / "releases" / "000003.json", fields | {"release": 3, "workflows": []}
    )
    serving.wait_for("unregister workflow feed_ab")
    assert not answers()
    serving.wait_for("release 3 is live")


def test_a_stop_ends_what_was_taken_over(serving: Serving, project: Path) -> None:
    serving.process.kill()
    serving.process.wait()
    serving.start()
    serving.wait_for("release 3 is live")
    processes = [process_of(project, name) for name in ("torchserve", "envoy", "exporter")]
    assert serving.stop(signal.SIGTERM) == 0
    assert not [process for process in processes if process.is_running()]
    assert os.listdir(project / "var" / "run" / "processes") == []  # noqa: PTH208
