"""Each action is done where it belongs, written down, and told if people can see its effect."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from marloft.archive.manifest import read_manifest
from marloft.contract.release import Key, ReleasedVersion
from marloft.deploy.control.actions import (
    Action,
    ActionRunner,
    Register,
    RegisterWorkflow,
    Scale,
    SetDefault,
    Unregister,
    UnregisterWorkflow,
    WriteAllocation,
    WriteClusters,
    WriteRoutes,
)
from marloft.deploy.control.admission import Admission
from marloft.deploy.project import Project
from marloft.deploy.torchserve.management import Registered
from marloft.errors import ServingError
from marloft.files import sha256_file
from tests.unit.deploy.control.fakes import (
    FakeGoldenGate,
    FakeInFlight,
    FakeTorchServe,
    FakeWorkflows,
)

ONE: Key = ("ranker", "1.0")
OTHER: Key = ("ranker", "1.1")
RELEASE = 7
LONGEST_S = 20.0


class Counted(FakeInFlight):
    """A gateway whose requests under way are set by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.under_way: dict[Key, int] | None = {}

    def counts(self) -> dict[Key, int] | None:
        return self.under_way


class Stage:
    """A runner between a TorchServe, a gateway and files."""

    def __init__(self, folder: Path, store: Path) -> None:
        self.now = 0.0
        self.project = Project(config=folder / "none", store=store, var=folder / "var")
        self.torchserve, self.workflows = FakeTorchServe(), FakeWorkflows()
        self.in_flight = Counted()
        log = self.project.worker_log
        self.admission = Admission(FakeGoldenGate(), store, log, clock=lambda: self.now)
        self.said: list[str] = []
        self.runner = ActionRunner(
            self.project,
            self.torchserve,
            self.workflows,
            self.admission,
            self.in_flight,
            self.said.append,
        )

    def run(self, action: Action) -> None:
        self.runner.run(action, RELEASE, LONGEST_S)

    def pinned(self, version: str = "1.0") -> ReleasedVersion:
        path = self.project.store / f"ranker-{version}.mar"
        return ReleasedVersion(sha256=sha256_file(path), settings=read_manifest(path).settings)

    def refused_after(self, seconds: float) -> dict[Key, str]:
        """Return what is still refused at a look after so long."""
        self.now += seconds
        self.admission.track(RELEASE, [], {})
        return self.admission.refused

    @property
    def events(self) -> list[dict[str, Any]]:
        """What was written down, without time and actor."""
        path = self.project.var / "events.jsonl"
        lines = path.read_bytes().splitlines() if path.exists() else []
        found = [msgspec.json.decode(line) for line in lines]
        return [{k: v for k, v in line.items() if k not in {"time", "actor"}} for line in found]


@pytest.fixture
def stage(tmp_path: Path, store: Path) -> Stage:
    return Stage(tmp_path, store)


def running(**settings: Any) -> Registered:
    return Registered(state="ready", default=False, **settings)


def test_register_loads_the_released_bytes_with_the_released_settings(stage: Stage) -> None:
    pinned = stage.pinned()
    settings = replace(pinned.settings, workers=2, batch_size=3, max_batch_delay_ms=5)
    stage.run(Register(model="ranker", version="1.0", pinned=replace(pinned, settings=settings)))
    found = stage.torchserve.models[ONE]
    assert (found.min_workers, found.batch_size, found.max_batch_delay_ms) == (2, 3, 5)
    assert stage.admission.held == {ONE: pinned.sha256}
    assert stage.events == [{"event": "register", "model": "ranker", "version": "1.0"}]
    assert stage.said == ["register ranker 1.0"]


def test_other_bytes_are_refused_for_good_and_never_registered(stage: Stage) -> None:
    pinned = stage.pinned("1.1")
    stage.run(Register(model="ranker", version="1.0", pinned=pinned))
    assert stage.torchserve.models == {}
    assert (stage.events, stage.said, stage.admission.held) == ([], [], {})
    path = stage.project.store / "ranker-1.0.mar"
    said = (
        f"{path} is not the archive of release 7 (sha256 {pinned.sha256[:12]}…); put that file "
        "back or run `marloft apply` for the new one."
    )
    assert stage.refused_after(1e6) == {ONE: said}


def test_missing_archive_is_refused(stage: Stage) -> None:
    stage.run(Register(model="ranker", version="7.0", pinned=stage.pinned()))
    assert stage.torchserve.models == {}
    assert (
        "ranker-7.0.mar is not the archive of release 7"
        in (stage.admission.refused["ranker", "7.0"])
    )


def test_what_torchserve_refuses_is_tried_again_after_a_while(stage: Stage) -> None:
    stage.torchserve.refuses = "no\n  such archive"
    stage.run(Register(model="ranker", version="1.0", pinned=stage.pinned()))
    assert stage.admission.refused == {ONE: "no such archive"}
    assert (stage.events, stage.said, stage.admission.held) == ([], [], {})
    assert stage.refused_after(29) != {}
    assert stage.refused_after(2) == {}


def test_scale_changes_the_number_of_workers(stage: Stage) -> None:
    stage.torchserve.models = {ONE: running(min_workers=1)}
    stage.run(Scale(model="ranker", version="1.0", workers=3))
    assert stage.torchserve.models[ONE].min_workers == 3
    assert stage.events == [{"event": "scale", "model": "ranker", "version": "1.0", "to": 3}]
    assert stage.said == ["scale ranker 1.0 to 3"]


def test_set_default_is_torchserves_own(stage: Stage) -> None:
    stage.torchserve.models = {ONE: running(), OTHER: running()}
    stage.run(SetDefault(model="ranker", version="1.1"))
    found = {key: registered.default for key, registered in stage.torchserve.models.items()}
    assert found == {ONE: False, OTHER: True}
    assert stage.events == [{"event": "set default", "model": "ranker", "version": "1.1"}]
    assert stage.said == ["set default ranker 1.1"]


@pytest.mark.parametrize(
    ("under_way", "left"), [({ONE: 2, OTHER: 5}, 2), ({OTHER: 5}, 0), (None, 0)]
)
def test_unregister_writes_down_what_was_still_under_way(
    stage: Stage, under_way: dict[Key, int] | None, left: int
) -> None:
    stage.torchserve.models = {ONE: running(), OTHER: running()}
    stage.in_flight.under_way = under_way
    stage.run(Unregister(model="ranker", version="1.0"))
    assert set(stage.torchserve.models) == {OTHER}
    noted = {"event": "unregister", "model": "ranker", "version": "1.0", "in_flight": left}
    assert stage.events == [noted]
    assert stage.said == ["unregister ranker 1.0"]


def test_written_routes_begin_the_drain_of_the_old_ones(stage: Stage) -> None:
    assert not stage.in_flight.drained([ONE])
    stage.in_flight.settle()
    assert stage.in_flight.drained([ONE])
    stage.run(WriteRoutes(content=b"routes"))
    assert stage.project.routes.read_bytes() == b"routes"
    assert not stage.in_flight.drained([ONE])
    stage.in_flight.under_way = {ONE: 1}
    stage.in_flight.now += LONGEST_S - 1
    assert not stage.in_flight.drained([ONE])
    stage.in_flight.now += 2
    assert stage.in_flight.drained([ONE]), "longer than that no request lasts"
    assert stage.events == [{"event": "routes"}]
    assert stage.said == [], "the release that they lead to is told when it is live"


def test_clusters_are_written_next_to_the_routes(stage: Stage) -> None:
    stage.run(WriteClusters(content=b"clusters"))
    assert stage.project.clusters.read_bytes() == b"clusters"
    assert (stage.events, stage.said) == ([], [])


def test_allocation_file_is_the_experiments(stage: Stage) -> None:
    stage.run(WriteAllocation(experiment="feed_ab", content=b"split"))
    path = stage.project.var / "run" / "allocation" / "feed_ab.json"
    assert path.read_bytes() == b"split"
    assert stage.events == [{"event": "allocation", "experiment": "feed_ab"}]
    assert stage.said == []


def test_workflows_come_and_go(stage: Stage) -> None:
    stage.run(RegisterWorkflow(name="feed_ab"))
    assert stage.workflows.names == {"feed_ab"}
    stage.run(UnregisterWorkflow(name="feed_ab"))
    assert stage.workflows.names == set()
    assert stage.events == [
        {"event": "register workflow", "workflow": "feed_ab"},
        {"event": "unregister workflow", "workflow": "feed_ab"},
    ]
    assert stage.said == ["register workflow feed_ab", "unregister workflow feed_ab"]


def test_action_that_fails_is_not_written_down(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object) -> None:
        raise ServingError("TorchServe does not answer.")

    for name in ("register", "scale", "set_default", "unregister"):
        monkeypatch.setattr(stage.torchserve, name, silent)
    actions: list[Action] = [
        Register(model="ranker", version="1.0", pinned=stage.pinned()),
        Scale(model="ranker", version="1.0", workers=3),
        SetDefault(model="ranker", version="1.0"),
        Unregister(model="ranker", version="1.0"),
    ]
    for action in actions:
        with pytest.raises(ServingError, match="does not answer"):
            stage.run(action)
    assert (stage.events, stage.said, stage.admission.refused) == ([], [], {})
