"""What guardrails are judged by: the gateway's counts are those of the log."""

import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.factories import write_project
from marloft.deploy.gateway.counts import GatewayCounts, Series, Traffic
from tests.e2e.running import Serving, configure, marloft, records
from tests.planted.planting import plant

pytestmark = pytest.mark.e2e

DEPLOYMENT = """\
default_model: ranker
models:
  ranker:
    versions: {"1.0": {}, "1.1": {}, "1.2": {}, "1.3": {}}
    default: "1.0"
    experiment: EXPERIMENT.yaml
"""
EXPERIMENT = """\
name: NAME
hypothesis: the planted version is as good
arms:
  - {name: control, version: "1.0", weight: 80}
  - {name: canary, version: "VERSION", weight: 20}
decision: {ctr_margin: 0.1, latency_margin: 0.25}
plan: {users: 100, duration: 60s}
"""
PLANTED = {"failing": "1.1", "slow": "1.2", "worse": "1.3"}


def split(project: Path, name: str) -> None:
    """Give a fifth of the users to a planted version."""
    text = EXPERIMENT.replace("NAME", name).replace("VERSION", PLANTED[name])
    (project / f"{name}.yaml").write_text(text)
    (project / "deployment.yaml").write_text(DEPLOYMENT.replace("EXPERIMENT", name))


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    project = write_project(tmp_path_factory.mktemp("project"))
    one = (project / "archive_configs" / "ranker_v1.yaml").read_text()
    for config in (project / "archive_configs").glob("*.yaml"):
        config.unlink()
    (project / "archive_configs" / "ranker_v1.yaml").write_text(one)
    plant(project, "failing", "1.1")
    plant(project, "slow", "1.2")
    plant(project, "worse", "1.3")
    configure(project, "")
    split(project, "failing")
    marloft(project, "apply")
    with Serving(project) as running:
        yield running


def go_live(serving: Serving, name: str) -> None:
    split(serving.project, name)
    number = int(marloft(serving.project, "apply").split("release ")[1].split()[0])
    serving.wait_for(f"release {number} is live")


def logged(project: Path, experiment: str) -> dict[str, tuple[int, int]]:
    """Return answers and 5xx of each arm in the prediction log."""
    found: dict[str, tuple[int, int]] = {}
    for record in records(project):
        if record.experiment == experiment and record.arm is not None:
            answers, errors = found.get(record.arm, (0, 0))
            found[record.arm] = (answers + 1, errors + (record.status >= 500))
    return found


def counted(counts: GatewayCounts, experiment: str) -> dict[str, Traffic]:
    return {key.arm: new for key, new in added(counts).items() if key.experiment == experiment}


def added(counts: GatewayCounts) -> dict[Series, Traffic]:
    """Return what was counted since the last call, which was not the first."""
    found = counts.read_new()
    assert found is not None
    return found


def test_counts_of_the_gateway_are_those_of_the_log(serving: Serving) -> None:
    counts = GatewayCounts(serving.ports.envoy_admin)
    counts.read_new()
    features = [{"item_id": 50}, {"item_id": 3}]
    for user in range(200):
        serving.predict(user_id=user, features=features, request_id=f"r{user}")
    serving.predict(user_id=1, features=features, model_version="1.3")
    found = counted(counts, "failing")
    deadline = time.monotonic() + 7
    while sum(each.timed for each in found.values()) < 200 and time.monotonic() < deadline:
        time.sleep(0.5)
        new = counted(counts, "failing")
        found = {arm: found.get(arm, Traffic()) + new[arm] for arm in new}
    counts.close()
    expected = logged(serving.project, "failing")
    assert {arm: (each.answered, each.errors) for arm, each in found.items()} == expected
    assert {arm: each.timed for arm, each in found.items()} == {
        arm: answers for arm, (answers, _) in expected.items()
    }
    assert all(each.slower(0.5) > 0 == each.slower(10_000) for each in found.values())
    assert sum(answers for answers, _ in expected.values()) == 200
    assert expected["control"][1] == 0
    failing = [r for r in records(serving.project) if r.arm == "canary"]
    wanted = [zlib.crc32(r.request_id.encode()) % 20 == 0 for r in failing]
    assert [r.status == 500 for r in failing] == wanted
    assert any(wanted)


def test_pinned_requests_are_counted_outside_the_split(serving: Serving) -> None:
    counts = GatewayCounts(serving.ports.envoy_admin)
    counts.read_new()
    for _ in range(3):
        serving.predict(user_id=1, features=[{"item_id": 50}], model_version="1.3")
    new = {key: each.answered for key, each in added(counts).items() if each.answered}
    counts.close()
    assert new == {Series(model="ranker", version="1.3"): 3}


def test_worse_canary_ranks_worst_first(serving: Serving) -> None:
    features = [{"item_id": item} for item in range(1, 9)]
    good, bad = (
        serving.predict(user_id=7, features=features, model_version=version).json()["prediction"]
        for version in ("1.0", "1.3")
    )
    assert bad == good[::-1]
