"""A dead worker costs nobody, and what keeps predictions from being answered is told within 5 s."""

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from harness import driver, factories
from marloft.contract.live import Live, live_path
from marloft.contract.records import PredictionRecord
from marloft.files import read_json
from marloft.logs.read import open_log
from tests.e2e.running import Serving, configure, marloft, records, two_arms
from tests.small_disk import fill, mounted

pytestmark = pytest.mark.e2e

DEPLOYMENT = """\
default_model: ranker
models:
  ranker: {versions: {"1.0": {}, "1.1": {}}, default: "1.0", experiment: ab.yaml}
"""
RATE = 50
# A start of a worker is CPU time; the promise of a quiet machine is 3 s.
BACK_S = 60.0
# Twice as long is waited for it, as both cores may be busy.
TOLD_S = 5.0


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project whose logs lie on a disk of 32 MiB."""
    folder = tmp_path_factory.mktemp("project")
    factories.write_project(folder)
    one = folder / "archive_configs" / "ranker_v1.yaml"
    for config in (folder / "archive_configs").glob("*.yaml"):
        if config != one:
            config.unlink()
    two = one.read_text().replace('version: "1.0"', 'version: "1.1"')
    one.with_name("other.yaml").write_text(two)
    (folder / "ab.yaml").write_text(two_arms("ab", 2000))
    configure(folder, DEPLOYMENT)
    marloft(folder, "apply")
    with mounted(folder / "var" / "log", "size=32m"):
        yield folder


@pytest.fixture(scope="module")
def serving(project: Path) -> Iterator[Serving]:
    with Serving(project) as running:
        yield running


def driving(serving: Serving) -> driver.Driver:
    """Drive with enough connections that a late answer holds up no other request."""
    return driver.Driver(serving.gateway, RATE, items=(50, 3), threads=100, timeout_s=30)


def kill_workers(serving: Serving, version: str) -> None:
    for worker in workers(serving, version):
        os.kill(worker["pid"], signal.SIGKILL)


def workers(serving: Serving, version: str) -> list[dict[str, Any]]:
    url = f"http://127.0.0.1:{serving.ports.management}/models/ranker/{version}"
    found: list[dict[str, Any]] = httpx2.get(url).json()[0]["workers"]
    return found


def until(condition: Callable[[], bool], limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def under_load_when_killed(serving: Serving, version: str) -> list[driver.SentRequest]:
    """Kill the only worker of a version under load; return what was sent from then on."""
    with driving(serving) as load:
        load.wait_for(RATE)
        killed_s = load.now()
        kill_workers(serving, version)
        console, since = serving.console, serving.console.read_text().count("a worker is back")
        until(lambda: console.read_text().count("a worker is back") > since, BACK_S)
        load.wait_for(2 * RATE)
    return [sent for sent in load.sent if sent.sent_s >= killed_s]


def faults(project: Path) -> dict[str, str]:
    return read_json(live_path(project / "var"), Live).faults


def status_with_fault(serving: Serving) -> str:
    """Return what `marloft status` says with exit code 1."""
    return marloft(serving.project, "status", "--port-offset", str(serving.ports.offset), code=1)


def is_well(serving: Serving) -> None:
    until(lambda: not faults(serving.project), 4 * TOLD_S)
    assert serving.client.get("/health").status_code == 200
    assert "live: " in marloft(
        serving.project, "status", "--port-offset", str(serving.ports.offset)
    )


def by_id(project: Path) -> dict[str, PredictionRecord]:
    return {record.request_id: record for record in records(project)}


def test_users_of_a_treatment_without_workers_get_the_default_outside_the_experiment(
    serving: Serving, project: Path
) -> None:
    sent = under_load_when_killed(serving, "1.1")
    assert {each.status for each in sent} == {200}
    found = by_id(project)
    told = [found[each.request_id or ""] for each in sent]
    outside = [record for record in told if record.experiment is None]
    assert outside
    assert {record.version for record in outside} == {"1.0"}
    late = [each for each in sent if each.took_s > 2]
    assert len(late) < len(outside) / 2, "only what was on its way waits; the others have a default"
    inside = [record for record in told if record.experiment == "ab"]
    assert {record.version for record in inside} == {"1.0", "1.1"}
    assert told[-1].experiment == "ab", "the split is back"
    with open_log(project / "var") as log:
        query = "SELECT count(DISTINCT request_id), count(*) FROM predictions"
        ((requests, rows),) = log.connection.execute(query).fetchall()
    assert requests == rows, "one record each, whatever was tried again"


def test_the_defaults_only_worker_costs_no_more_than_a_wait_or_a_retry_after(
    serving: Serving,
) -> None:
    sent = under_load_when_killed(serving, "1.0")
    assert {each.status for each in sent} <= {200, 503}
    assert all(each.retry_after for each in sent if each.status == 503)
    treated = [each for each in sent if each.version == "v1.1"]
    assert treated
    assert max(each.took_s for each in treated) < BACK_S / 2
    is_well(serving)


def test_full_log_folder_is_told_without_traffic_and_is_over_when_there_is_room(
    serving: Serving, project: Path
) -> None:
    is_well(serving)
    filler = fill(project / "var" / "log")
    try:
        until(lambda: set(faults(project)) >= {"ranker 1.0", "ranker 1.1", "/health"}, 2 * TOLD_S)
        health = serving.client.get("/health")
        assert health.status_code == 503
        reason = "The prediction log cannot be written: No space left on device."
        assert health.json()["detail"] == reason
        assert f"ranker 1.1: a probe is answered 503: {reason}" in status_with_fault(serving)
    finally:
        filler.unlink()
    is_well(serving)
    assert serving.predict(user_id=7, features=[{"item_id": 50}]).status_code == 200


def test_worker_that_starts_on_a_full_log_folder_comes_up_and_heals(
    serving: Serving, project: Path
) -> None:
    filler = fill(project / "var" / "log")
    try:
        kill_workers(serving, "1.0")
        until(lambda: all(w["status"] == "READY" for w in workers(serving, "1.0")), BACK_S)
        refused = serving.predict(user_id=7, features=[{"item_id": 50}], model_version="1.0")
        assert refused.status_code == 503
    finally:
        filler.unlink()
    is_well(serving)


def test_deleted_log_folder_is_made_again_by_the_next_prediction(
    serving: Serving, project: Path
) -> None:
    shutil.rmtree(project / "var" / "log" / "predictions")
    answer = serving.predict(user_id=7, features=[{"item_id": 50}])
    assert answer.status_code == 200
    assert set(by_id(project)) == {answer.json()["request_id"]}
    is_well(serving)


def test_deleted_archive_of_a_live_version_is_told_until_it_is_back(
    serving: Serving, project: Path
) -> None:
    archive = project / "model_store" / "ranker-1.1.mar"
    aside = archive.rename(project / "aside.mar")
    try:
        until(lambda: bool(faults(project)), 2 * TOLD_S)
        assert "ranker-1.1.mar is gone; a restart could not load it" in status_with_fault(serving)
    finally:
        aside.rename(archive)
    is_well(serving)
