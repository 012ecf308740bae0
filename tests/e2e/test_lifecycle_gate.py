"""A version that cannot start, answers wrongly or was changed on disk gets no traffic."""

import concurrent.futures
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from harness import factories
from marloft.contract.live import Live, VersionState, live_path
from marloft.deploy.release import write as releases
from marloft.files import read_json
from tests.e2e.running import Driver, Serving, configure
from tests.e2e.test_lifecycle_restart import kill_torchserve

pytestmark = pytest.mark.e2e

DEPLOYMENT = """\
default_model: ranker
models:
  ranker: {versions: {%s}, default: "%s"}
"""
# Faults are planted at run time, so that packing finds nothing.
HANDLER = '''\
"""The ranker, with faults that a file in the state folder switches on."""

import os
import time
from pathlib import Path

from marloft.runtimes import Arrays
from marloft.serving import Handler, LoadedArchive, Ranking, Request


def planted(fault: str) -> bool:
    return (Path(os.environ.get("MARLOFT_VAR", "/nowhere")) / fault).exists()


class FaultyHandler(Handler):
    def load(self, archive: LoadedArchive) -> None:
        super().load(archive)
        if planted("load"):
            raise OSError("the planted fault")

    def decode(self, request: Request) -> Arrays:
        import numpy as np
        from marloft.ranker.features import FeatureTables, encode, parse_user_id

        tables = FeatureTables.load(Path(__file__).with_name("tables.npz"))
        items = np.array(request.column("item_id"), dtype=np.int64)
        return encode(tables, np.full(len(items), parse_user_id(request.user_id)), items)

    def predict(self, inputs: Arrays) -> Arrays:
        if planted("slow"):
            time.sleep(5)
        outputs = super().predict(inputs)
        return {"score": outputs["score"] * 0.9} if planted("wrong") else outputs

    def encode(self, request: Request, outputs: Arrays) -> Ranking:
        return Ranking(request.column("item_id"), outputs["score"])
'''


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    factories.write_project(folder)
    template = (folder / "archive_configs" / "ranker_v1.yaml").read_text()
    for config in (folder / "archive_configs").glob("*.yaml"):
        config.unlink()
    (folder / "handlers" / "faulty.py").write_text(HANDLER)
    for version in ("1.0", "2.0", "3.0", "4.0"):
        text = template.replace('version: "1.0"', f'version: "{version}"')
        if version != "1.0":
            text = text.replace("handlers/ranker.py", "handlers/faulty.py")
            text = text.replace("response_timeout_s: 3", "response_timeout_s: 20")
        (folder / "archive_configs" / f"ranker-{version}.yaml").write_text(text)
    configure(folder, DEPLOYMENT % ('"1.0": {}', "1.0"))
    decide(folder, "1.0")
    return folder


@pytest.fixture(scope="module")
def serving(project: Path) -> Iterator[Serving]:
    with Serving(project) as running:
        yield running


def decide(project: Path, default: str, *others: str, settings: str = "") -> int:
    """Write the next release directly, without waiting for it; return its number."""
    versions = ", ".join(f'"{version}": {{{settings}}}' for version in (default, *others))
    (project / "deployment.yaml").write_text(DEPLOYMENT % (versions, default))
    release = releases.apply(
        project / "deployment.yaml", project / "model_store", project / "var", force=True
    )
    assert release is not None
    return release.release


def live(project: Path) -> Live:
    return read_json(live_path(project / "var"), Live)


def state(project: Path, version: str) -> VersionState:
    return live(project).versions["ranker"].get(version, VersionState(state="loading"))


def until(condition: Callable[[], bool], limit_s: float = 60) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def is_live(project: Path, number: int) -> bool:
    return live(project).release == number and live(project).live


def refused_why(serving: Serving, project: Path, fault: str, version: str) -> str:
    """Apply `version` as the default with a fault, under load; return why it is refused."""
    planted = project / "var" / fault
    planted.touch()
    try:
        with Driver(serving, 50) as driver:
            number = decide(project, version)
            until(lambda: live(project).release == number)
            until(lambda: state(project, version).state == "refused")
            time.sleep(0.5)
    finally:
        planted.unlink()
    assert {(sent.status, sent.version) for sent in driver.sent} == {(200, "v1.0")}
    assert live(project).serving == {"ranker": number - 1}
    assert not live(project).live
    why = state(project, version).why
    back = decide(project, "1.0")
    until(lambda: is_live(project, back))
    assert why is not None
    return why


def test_a_version_that_cannot_start_gets_no_traffic(serving: Serving, project: Path) -> None:
    why = refused_why(serving, project, "load", "2.0")
    assert "OSError: the planted fault (faulty.py:" in why
    assert why.endswith("in load)")


def test_a_version_with_other_answers_gets_no_traffic(serving: Serving, project: Path) -> None:
    # Not 2.0, which stays loaded as the default before.
    why = refused_why(serving, project, "wrong", "4.0")
    assert "golden answer 1 differs: scores: entry 0" in why


def test_a_good_version_gets_traffic_without_a_failed_request(
    serving: Serving, project: Path
) -> None:
    with Driver(serving, 50) as driver:
        number = decide(project, "3.0", "1.0")
        until(lambda: is_live(project, number))
        until(lambda: driver.sent[-1].version == "v3.0")
    assert {sent.status for sent in driver.sent} == {200}
    versions = [sent.version for sent in sorted(driver.sent)]
    assert set(versions) == {"v1.0", "v3.0"}


def test_a_version_leaves_only_after_its_last_answer(serving: Serving, project: Path) -> None:
    before = decide(project, "1.0", "2.0")
    until(lambda: is_live(project, before))
    (project / "var" / "slow").touch()
    try:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            body = {"user_id": 7, "features": [{"item_id": 50}], "model_version": "2.0"}
            slow = pool.submit(serving.client.post, "/predict", json=body)
            time.sleep(0.5)
            number = decide(project, "1.0")
            until(lambda: is_live(project, number))
            assert not slow.done()
            assert slow.result().status_code == 200
            answered_s = time.monotonic()
    finally:
        (project / "var" / "slow").unlink()
    until(lambda: "2.0" not in serving.registered("ranker"))
    # By count: by time alone it would be the 41 s that a request of this version may last.
    assert time.monotonic() - answered_s < 15
    lines = (project / "var" / "events.jsonl").read_bytes().splitlines()
    events = [msgspec.json.decode(line) for line in lines]
    removed = [e for e in events if e["event"] == "unregister" and e["version"] == "2.0"][-1]
    assert removed["in_flight"] == 0
    served = [e["time"] for e in events if e["event"] == "routes"][-1]
    assert removed["time"] > served


def test_scaling_under_load_loses_no_request(serving: Serving, project: Path) -> None:
    with Driver(serving, 50) as driver:
        for workers in (2, 1):
            number = decide(project, "1.0", settings=f"workers: {workers}")
            serving.wait_for(f"scale ranker 1.0 to {workers}")
            until(lambda number=number: is_live(project, number))  # type: ignore[misc]
            time.sleep(3)
    assert {sent.status for sent in driver.sent} == {200}


def test_a_batch_size_that_cannot_change_at_run_time_is_said(
    serving: Serving, project: Path
) -> None:
    number = decide(project, "1.0", settings="batch_size: 4")
    until(lambda: is_live(project, number))
    assert "batch_size 16, release" in (live(project).complaint or "")
    back = decide(project, "1.0")
    until(lambda: is_live(project, back) and live(project).complaint is None)


def test_a_changed_archive_is_not_loaded_again(serving: Serving, project: Path) -> None:
    number = decide(project, "1.0", "2.0")
    until(lambda: is_live(project, number))
    archive = project / "model_store" / "ranker-2.0.mar"
    good = archive.read_bytes()
    archive.write_bytes(good + b" ")
    try:
        kill_torchserve(project)
        until(lambda: state(project, "2.0").state == "refused")
        until(lambda: state(project, "1.0").state == "ready")
        assert "is not the archive of release" in (state(project, "2.0").why or "")
        until(lambda: serving.predict(user_id=7, features=[{"item_id": 1}]).status_code == 200)
        pinned = serving.predict(user_id=7, features=[{"item_id": 1}], model_version="2.0")
        assert pinned.status_code == 503
    finally:
        archive.write_bytes(good)
    until(lambda: is_live(project, number))


def test_golden_questions_are_not_traffic(serving: Serving, project: Path) -> None:
    folder = project / "var" / "log" / "predictions"
    records = b"".join(segment.read_bytes() for segment in folder.glob("*.jsonl"))
    assert b'"release":null' not in records
    assert records
