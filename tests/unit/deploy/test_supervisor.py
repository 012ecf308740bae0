"""In which order `serve` starts, takes over, looks after and stops; the processes are in memory.

That the real ones do the same is tests/e2e/test_serve.py's and test_lifecycle_restart.py's to show.
"""

import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from marloft.contract.release import ReleasedModel
from marloft.deploy import supervisor as module
from marloft.deploy.control.controller import Connections
from marloft.deploy.ports import Exposure, Ports
from marloft.deploy.processes.process import ManagedProcess
from marloft.deploy.running import exclusive
from marloft.deploy.supervisor import serve
from marloft.errors import ReleaseError, ServingError
from tests.unit.deploy.control.fakes import Bench, FakeWatch

LIVE = "release 1 is live: ranker 1.0"


class InMemory(ManagedProcess):
    """A process that runs when it is said to; every call is noted in the stage's story."""

    stop_patience_s = 1.0

    def __init__(self, name: str, stage: "Stage") -> None:
        self.name, self.stage = name, stage
        self.alive = self.left_over = False
        self.loads: list[Sequence[str]] = []

    def note(self, what: str) -> None:
        self.stage.story.append(f"{what} {self.name}")

    @property
    def pid(self) -> int | None:
        return 41 if self.alive else None

    def adopt(self) -> bool:
        self.alive = self.left_over
        return self.alive

    def end_earlier(self) -> None:
        self.note("end earlier")

    def load_at_start(self, archives: Sequence[str]) -> None:
        self.loads.append(archives)

    def spawn(self) -> None:
        assert self.stage.bench.project.routes.is_file(), "the gateway could not start"
        self.note("spawn")
        self.alive = True

    def start(self) -> None:
        self.note("start")
        self.alive = True

    def wait_until_ready(self) -> None:
        self.note("wait for")
        if self.name == self.stage.never_ready:
            raise ServingError(f"{self.name} was not ready in 60 s.")

    def probe(self) -> bool:
        return self.alive

    def is_alive(self) -> bool:
        return self.alive

    def last_words(self) -> str:
        return f"{self.name} ended with code -9"

    def revive(self, report: Callable[[str], None]) -> None:
        """Nothing to do."""

    def stop(self, patience_s: float | None = None) -> None:  # noqa: ARG002
        self.note("stop")
        self.alive = False


class Stage:
    """A `serve` on release 1 of ranker 1.0; `on` says what happens when a line is reported."""

    def __init__(self, folder: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.bench = Bench(folder, store)
        self.story: list[str] = []
        self.said: list[str] = []
        self.held: list[str] | None = None
        self.never_ready: str | None = None
        self.stop = threading.Event()
        self.on: dict[str, Callable[[], None]] = {LIVE: self.stop.set}
        self.server = InMemory("TorchServe", self)
        self.gateway = InMemory("Envoy", self)
        self.exporter = InMemory("exporter", self)
        for name, process in (
            ("TorchServe", self.server),
            ("Envoy", self.gateway),
            ("Exporter", self.exporter),
        ):
            monkeypatch.setattr(module, name, lambda *_, process=process: process)
        connections = Connections(
            models=self.bench.torchserve,
            workflows=self.bench.workflows,
            golden_gate=self.bench.gate,
            in_flight=self.bench.in_flight,
        )
        monkeypatch.setattr(Connections, "at", lambda _: connections)
        monkeypatch.setattr(module, "RolloutWatch", lambda *_: Closable(self))
        monkeypatch.setattr(module, "check_free", self._check_free)
        monkeypatch.setattr(module, "drain", self._drain)

    def _check_free(self, _: Ports, __: Exposure, *, held: Collection[str]) -> None:
        self.held = list(held)

    def _drain(self, *_: object, **limits: float) -> int:
        self.story.append(f"drain for {limits['announce_s']:g} and {limits['limit_s']:g} s")
        return 2

    def release(self) -> None:
        model = ReleasedModel(default="1.0", versions={"1.0": self.bench.pin("1.0")})
        self.bench.release(1, model)

    def serve(self) -> None:
        serve(
            self.bench.project,
            Ports(),
            self.stop,
            self._report,
            exposure=Exposure(),
            announce_s=3.0,
        )

    def _report(self, line: str) -> None:
        self.said.append(line)
        self.on.pop(line, lambda: None)()

    def events(self, *names: str) -> list[dict[str, Any]]:
        """Return the written events of these names, without time and actor."""
        lines = (self.bench.project.var / "events.jsonl").read_bytes().splitlines()
        found = [msgspec.json.decode(line) for line in lines]
        kept = [each for each in found if each["event"] in names]
        return [{k: v for k, v in each.items() if k not in {"time", "actor"}} for each in kept]


class Closable(FakeWatch):
    """A watch whose end is part of the story."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage

    def close(self) -> None:
        self.stage.story.append("close watch")


@pytest.fixture
def stage(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    stage = Stage(tmp_path, store, monkeypatch)
    stage.release()
    return stage


def test_serve_brings_the_release_live_and_stops_without_losing_what_is_under_way(
    stage: Stage,
) -> None:
    stage.serve()
    assert stage.said == [
        "starting TorchServe",
        "starting Envoy",
        "register ranker 1.0",
        LIVE,
        "stopping: finishing what is under way",
        "stopped, 2 requests without an answer",
    ]
    assert stage.story == [
        "end earlier exporter",
        "spawn TorchServe",
        "spawn Envoy",
        "wait for TorchServe",
        "wait for Envoy",
        "start exporter",
        # The archive's response timeout of 3 s twice, with room, and a second beyond.
        "drain for 3 and 9 s",
        "close watch",
        "stop exporter",
        "stop Envoy",
        "stop TorchServe",
    ]
    assert stage.held == []
    assert stage.events("serving", "stopped") == [
        {"event": "serving", "release": 1},
        {"event": "stopped", "unanswered": 2},
    ]
    bench = stage.bench
    assert bench.torchserve.closed and bench.workflows.closed and bench.gate.closed


def test_what_an_earlier_serve_left_running_is_taken_over(stage: Stage) -> None:
    stage.server.left_over = stage.gateway.left_over = True
    stage.serve()
    assert stage.said[:2] == [
        "TorchServe runs already (process 41); taken over",
        "Envoy runs already (process 41); taken over",
    ]
    assert not [line for line in stage.story if line.startswith(("spawn", "wait"))]
    assert stage.held == [
        "gateway",
        "operations",
        "Envoy admin",
        "TorchServe inference",
        "TorchServe management",
        "TorchServe metrics",
        "TorchServe gRPC inference",
        "TorchServe gRPC management",
    ]


def test_only_the_ports_of_what_was_taken_over_may_be_held(stage: Stage) -> None:
    stage.gateway.left_over = True
    stage.serve()
    assert stage.held == ["gateway", "operations", "Envoy admin"]
    assert [line for line in stage.story if line.startswith("spawn")] == ["spawn TorchServe"]


def test_torchserve_that_ends_is_started_again_with_the_defaults_that_served(
    stage: Stage,
) -> None:
    def end() -> None:
        stage.server.alive = False

    stage.on = {LIVE: end, "TorchServe runs again": stage.stop.set}
    stage.serve()
    assert "TorchServe ended with code -9 It is started again." in stage.said
    assert stage.events("ended") == [
        {"event": "ended", "process": "TorchServe", "why": "TorchServe ended with code -9"}
    ]
    assert stage.server.loads == [["ranker-1.0.mar"]]
    assert stage.story.count("spawn TorchServe") == 2


def test_gateway_that_ends_is_started_again_and_torchserve_is_not(stage: Stage) -> None:
    def end() -> None:
        stage.gateway.alive = False

    stage.on = {LIVE: end, "Envoy runs again": stage.stop.set}
    stage.serve()
    assert [event["process"] for event in stage.events("ended")] == ["Envoy"]
    assert stage.story.count("spawn Envoy") == 2
    assert stage.story.count("spawn TorchServe") == 1
    assert stage.server.loads == []


def test_gateway_that_is_gone_at_the_stop_has_nothing_to_drain(stage: Stage) -> None:
    def end() -> None:
        stage.gateway.alive = False
        stage.stop.set()

    stage.on = {LIVE: end}
    stage.serve()
    assert not [line for line in stage.story if line.startswith("drain")]
    assert stage.said[-1] == "stopped, 0 requests without an answer"


def test_failed_start_leaves_nothing_running(stage: Stage) -> None:
    stage.never_ready = "Envoy"
    with pytest.raises(ServingError, match="Envoy was not ready"):
        stage.serve()
    assert stage.story[-3:] == ["stop exporter", "stop Envoy", "stop TorchServe"]
    assert stage.bench.torchserve.closed


def test_without_a_release_nothing_is_started(
    tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(tmp_path, store, monkeypatch)
    with pytest.raises(ReleaseError, match="run `marloft apply` first"):
        stage.serve()
    assert (stage.story, stage.said) == ([], [])


def test_second_serve_touches_nothing_of_the_first(stage: Stage) -> None:
    with (
        exclusive(stage.bench.project.var),
        pytest.raises(ServingError, match="another `marloft serve` runs"),
    ):
        stage.serve()
    assert (stage.story, stage.said) == ([], [])
