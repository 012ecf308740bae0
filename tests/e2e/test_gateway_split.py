"""The A/B split by the gateway, on real TorchServe and Envoy: who was meant, served and logged."""

import concurrent.futures
import csv
import io
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import httpx2
import msgspec
import pytest

from harness import factories
from marloft.assignment import arm_of
from marloft.contract.records import PredictionRecord
from marloft.contract.release import read_release
from marloft.deploy.control.actual import observe_actual
from marloft.deploy.gateway.observed_routes import ModelRoutes
from marloft.deploy.status import read_status
from tests.e2e.running import Driver, Serving, configure, marloft, records

pytestmark = pytest.mark.e2e

USERS = 2000
VERSIONS = {"control": "1.0", "treatment": "1.1"}
SPLITS = {"even": (50, 50), "ninety": (90, 10), "canary": (1, 99)}
PLAIN = """\
default_model: ranker
models:
  ranker: {versions: {"1.0": {}, "1.1": {}}, default: "1.0"}
"""
FEATURES = [{"item_id": 50}, {"item_id": 3}]


def write_split(project: Path, name: str, weights: tuple[int, int]) -> Path:
    """Write an experiment file and a deployment.yaml that runs it."""
    path = project / f"{name}.yaml"
    path.write_text(f"""\
name: {name}
hypothesis: 1.1 ranks as well as 1.0
arms:
  - {{name: control, version: "1.0", weight: {weights[0]}}}
  - {{name: treatment, version: "1.1", weight: {weights[1]}}}
decision: {{ctr_margin: 0.1, latency_margin: 0.25}}
plan: {{users: {USERS}, duration: 60s}}
""")
    deployment = PLAIN.replace('default: "1.0"', f'default: "1.0", experiment: {path.name}')
    (project / "deployment.yaml").write_text(deployment)
    return path


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    project = tmp_path_factory.mktemp("project")
    factories.write_project(project)
    one = project / "archive_configs" / "ranker_v1.yaml"
    two = one.read_text().replace('version: "1.0"', 'version: "1.1"')
    (project / "archive_configs" / "ranker_torchscript.yaml").write_text(two)
    configure(project, PLAIN)
    marloft(project, "apply")
    with Serving(project) as running:
        yield running


def go_live(serving: Serving, *verb: str) -> int:
    """Run a command that writes a release; return its number when it is live."""
    said = marloft(serving.project, *verb)
    number = int(said.split("release ")[1].split()[0])
    serving.wait_for(f"release {number} is live")
    return number


def ask_everybody(serving: Serving) -> dict[int, httpx2.Response]:
    """Ask once for each user, 8 at a time."""

    def ask(user: int) -> httpx2.Response:
        return serving.predict(user_id=user, features=FEATURES, request_id=f"{name}-{user}")

    name = f"r{time.monotonic_ns()}"
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return dict(zip(range(USERS), pool.map(ask, range(USERS)), strict=True))


def assigned(project: Path, experiment: Path) -> dict[int, str]:
    """Return the arms that `marloft experiment assign` prints."""
    units = project / "units.txt"
    units.write_text("".join(f"{user}\n" for user in range(USERS)))
    printed = marloft(project, "experiment", "assign", experiment, "--units", units)
    return {int(row["unit"]): row["arm"] for row in csv.DictReader(io.StringIO(printed))}


def by_id(project: Path) -> dict[str, PredictionRecord]:
    return {record.request_id: record for record in records(project)}


@pytest.mark.parametrize("name", SPLITS)
def test_arms_in_answers_and_log_are_the_assigned_ones(serving: Serving, name: str) -> None:
    path = write_split(serving.project, name, SPLITS[name])
    release = go_live(serving, "apply")
    meant = assigned(serving.project, path)
    answers, logged = ask_everybody(serving), by_id(serving.project)
    for user, answer in answers.items():
        body = answer.json()
        record = logged[body["request_id"]]
        assert body["experiment"] == {"name": name, "arm": meant[user]}
        assert body["model_version"] == f"v{VERSIONS[meant[user]]}"
        assert (record.experiment, record.arm, record.release) == (name, meant[user], release)
        assert record.version == record.intended_version == VERSIONS[meant[user]]
        weight = SPLITS[name][list(VERSIONS).index(meant[user])]
        assert record.propensity == pytest.approx(weight / sum(SPLITS[name]))
    assert len(set(meant.values())) == 2


def test_status_reads_back_what_torchserve_and_the_gateway_run(serving: Serving) -> None:
    write_split(serving.project, "read_back", (90, 10))
    release = go_live(serving, "apply")
    found = observe_actual(serving.project / "var", serving.ports)
    assert found.routed is not None
    ranker = ModelRoutes(
        release=release, default="1.0", arms={"1.0": 90, "1.1": 10}, pinned=["1.0", "1.1"]
    )
    assert found.routed == {"ranker": ranker}
    status = read_status(serving.project / "var", serving.ports)
    assert [line for line in status.drift if "marloft serve" not in line] == []
    assert {each.workers for each in status.versions} == {"ready"}


def test_pinned_requests_and_requests_without_a_user_are_outside(serving: Serving) -> None:
    write_split(serving.project, "outside", (50, 50))
    go_live(serving, "apply")
    pinned = serving.predict(user_id=7, features=FEATURES, model_version="v1.1").json()
    nobody = serving.predict(features=FEATURES).json()
    logged = by_id(serving.project)
    for answer, version in ((pinned, "1.1"), (nobody, "1.0")):
        record = logged[answer["request_id"]]
        assert "experiment" not in answer
        assert (record.version, record.intended_version) == (version, version)
        assert (record.experiment, record.arm, record.propensity) == (None, None, None)


def test_weight_change_promote_and_rollback_under_load_lose_no_request(serving: Serving) -> None:
    project = serving.project
    write_split(project, "moving", (90, 10))
    first = go_live(serving, "apply")
    with Driver(serving, rate=50) as driver:
        phases = [(first, driver.now())]
        time.sleep(3)
        write_split(project, "moving", (50, 50))
        for verb in (("apply",), ("promote",), ("rollback",)):
            phases.append((go_live(serving, *verb), driver.now()))
            time.sleep(3)
    assert len(driver.sent) > 500
    assert [a for a in driver.sent if a.status != 200] == []
    logged = by_id(project)
    for sent in driver.sent:
        started = [release for release, since in phases if since <= sent.sent_s]
        record = logged[sent.request_id or ""]
        assert record.release is not None
        assert record.release >= started[-1], "an answer by a release that had ended"
        model = read_release(project / "var" / "releases", record.release).models["ranker"]
        if model.allocation is None:
            meant = model.default
        else:
            meant = VERSIONS[arm_of(model.allocation, str(sent.user))]
        assert (record.version, sent.version) == (meant, f"v{meant}")


def test_rollback_is_in_the_routes_within_two_seconds(serving: Serving) -> None:
    """Of wall time, from the release to the route file, which Envoy takes in milliseconds."""
    write_split(serving.project, "back", (50, 50))
    go_live(serving, "apply")
    go_live(serving, "promote")
    back = go_live(serving, "rollback")
    lines = (serving.project / "var" / "events.jsonl").read_bytes().splitlines()
    events = [msgspec.json.decode(line) for line in lines]
    place = next(i for i, event in enumerate(events) if event.get("release") == back)
    routes = next(event for event in events[place:] if event["event"] == "routes")
    took = datetime.fromisoformat(routes["time"]) - datetime.fromisoformat(events[place]["time"])
    assert timedelta(0) <= took < timedelta(seconds=2)
    assert serving.predict(user_id=7, features=FEATURES).json()["model_version"] == "v1.0"
