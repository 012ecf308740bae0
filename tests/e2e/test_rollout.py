"""A roll-out on real servers: it goes on by itself, a bad version goes back by itself."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from harness import factories
from harness.driver import SentRequest
from marloft.assignment import arm_of
from marloft.contract.live import Live, live_path
from marloft.contract.release import Release, ReleasedModel, read_release
from marloft.files import read_json
from tests.e2e.clients import Clients, flood, leave, read_slowly, send_slowly
from tests.e2e.running import Driver, Serving, configure, marloft, records
from tests.planted.planting import Fault, plant

pytestmark = pytest.mark.e2e

DEPLOYMENT = """\
default_model: ranker
models:
  ranker:
    versions: {{{versions}}}
    default: "{default}"
    rollout: {{steps: [{steps}], hold_s: {hold_s}, min_requests: 10}}
    guardrails: {{error_ratio: 0.01, p99_ms: {p99_ms}, worker_restarts: 2}}
"""
BOTH = '"1.0": {}, "1.1": {}'
# The planted slow version needs 35 ms at least; the tiny ranker answers in 3 to 10 on a free core.
P99_MS = 30
ROLLED_BACK_S = 30
# What clients take to send a body: more than the latency that is allowed, and than a request may
# take as a whole.
SLOWER_S, UPLOAD_S = 1.0, 9
FEATURES = [{"item_id": 50}, {"item_id": 3}]


def write(
    project: Path,
    default: str,
    steps: str = "20",
    hold_s: int = 60,
    p99_ms: int = P99_MS,
    versions: str = BOTH,
) -> None:
    text = DEPLOYMENT.format(
        versions=versions, default=default, steps=steps, hold_s=hold_s, p99_ms=p99_ms
    )
    (project / "deployment.yaml").write_text(text)


def project_with(folder: Path, fault: Fault | None = None) -> Path:
    """Lay out a project whose 1.1 is as good as 1.0, or has a planted fault."""
    project = factories.write_project(folder)
    one = project / "archive_configs" / "ranker_v1.yaml"
    other = project / "archive_configs" / "ranker_torchscript.yaml"
    other.write_text(one.read_text().replace('version: "1.0"', 'version: "1.1"'))
    if fault is not None:
        plant(project, fault)
    write(project, "1.0", versions='"1.0": {}')
    configure(project, (project / "deployment.yaml").read_text())
    marloft(project, "apply")
    return project


def newest(project: Path) -> Release:
    return read_release(project / "var" / "releases")


def wait(project: Path, done: Callable[[Release], bool], limit_s: float) -> Release:
    deadline = time.monotonic() + limit_s
    while not done(newest(project)):
        assert time.monotonic() < deadline, newest(project)
        time.sleep(0.1)
    return newest(project)


def meant(model: ReleasedModel, user: int) -> str:
    if model.allocation is None:
        return model.default
    arm = arm_of(model.allocation, str(user))
    return next(each.version for each in model.allocation.arms if each.name == arm)


def check_served_as_decided(project: Path, sent: list[SentRequest]) -> None:
    """Each answer is by the version that the release in its record gives to its user."""
    logged = {record.request_id: record for record in records(project)}
    every = range(1, newest(project).release + 1)
    models = {n: read_release(project / "var" / "releases", n).models["ranker"] for n in every}
    for each in sent:
        record = logged[each.request_id or ""]
        assert record.version == meant(models[record.release or 0], each.user)
        assert each.version == f"v{record.version}"


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A project whose 1.1 is as good as 1.0."""
    with Serving(project_with(tmp_path_factory.mktemp("good"))) as running:
        yield running


def test_good_version_takes_over_by_steps_without_a_failed_request(serving: Serving) -> None:
    project = serving.project
    with Driver(serving, rate=50) as driver:
        time.sleep(1)
        write(project, "1.1", steps="20, 50", hold_s=2)
        said = marloft(project, "apply")
        assert "20" in said
        wait(project, lambda r: (m := r.models["ranker"]).default == "1.1" and not m.rollout, 60)
        serving.wait_for(f"release {newest(project).release} is live")
        time.sleep(1)
        assert "what runs is what the release says" in marloft(
            project, "status", "--port-offset", str(serving.ports.offset)
        )
    assert [each for each in driver.sent if each.status != 200] == []
    check_served_as_decided(project, driver.sent)
    ramp = [read_release(project / "var" / "releases", n) for n in range(2, 6)]
    assert [each.verb for each in ramp] == ["apply", "ramp", "ramp", "ramp"]
    assert [each.actor for each in ramp[1:]] == ["marloft serve"] * 3
    assert "nothing to do" in marloft(project, "apply")


def test_clients_alone_move_no_release(serving: Serving) -> None:
    """Slow to send, slow to read, gone too soon while it is a canary and after it; then a flood."""
    project, port = serving.project, serving.ports.gateway
    before = newest(project).models["ranker"].default
    new = "1.1" if before == "1.0" else "1.0"
    slow = [partial(send_slowly, port, SLOWER_S)] * 4
    others = [partial(read_slowly, port, SLOWER_S), partial(leave, port, 0.01)]
    write(project, new, steps="50", hold_s=UPLOAD_S + 4, p99_ms=int(SLOWER_S * 500))
    marloft(project, "apply")
    with Clients(*slow, *others) as clients:
        full = wait(project, lambda release: release.models["ranker"].allocation is None, 60)
        assert send_slowly(port, UPLOAD_S) == 200
        assert newest(project) == full
    assert (full.verb, full.models["ranker"].default) == ("ramp", new)
    assert set(clients.statuses) == {0, 200}
    refused = 0
    for _ in range(4):
        refused += flood(port, 400).count(503)
        time.sleep(0.5)
    assert refused

    def is_set_aside() -> bool:
        watch = read_json(live_path(project / "var"), Live).watches.get("ranker")
        return watch is not None and watch.set_aside > 0

    serving.wait_until(is_set_aside, "look set aside", 10)
    assert newest(project) == full


@pytest.mark.parametrize(("fault", "guardrail"), [("failing", "error_ratio"), ("slow", "p99_ms")])
def test_bad_version_is_rolled_back_by_itself(tmp_path: Path, fault: Fault, guardrail: str) -> None:
    project = project_with(tmp_path, fault)
    with Serving(project) as serving, Driver(serving, rate=50) as driver:
        time.sleep(1)
        write(project, "1.1")
        marloft(project, "apply")
        began = time.monotonic()
        back = wait(project, lambda r: r.verb == "rollback", ROLLED_BACK_S)
        took_s = time.monotonic() - began
        serving.wait_for(f"release {back.release} is live")
        live_s = driver.now()
        time.sleep(2)
    assert back.models["ranker"].allocation is None
    assert back.models["ranker"].default == "1.0"
    assert guardrail in back.reason, back.reason
    assert took_s <= ROLLED_BACK_S
    after = [each for each in driver.sent if each.sent_s > live_s]
    assert {each.version for each in after} == {"v1.0"}
    refused = marloft(project, "apply", code=2)
    assert "superseded" in refused and "roll" in refused


def test_version_that_cannot_start_is_rolled_back_and_apply_says_why(tmp_path: Path) -> None:
    project = project_with(tmp_path, "broken")
    with Serving(project) as serving, Driver(serving, rate=50) as driver:
        write(project, "1.1")
        said = marloft(project, "apply", code=2)
        assert "planted: no model" in said, said
        back = wait(project, lambda release: release.verb == "rollback", ROLLED_BACK_S)
        serving.wait_for(f"release {back.release} is live")
        assert "planted: no model" in back.reason
        assert serving.predict(features=FEATURES, model_version="1.1").status_code == 404
    assert {(each.status, each.version) for each in driver.sent} == {(200, "v1.0")}
