"""In which order `serve` starts, takes over, looks after and stops; the processes are in memory.

That the real ones do the same is tests/e2e/test_serve.py's and test_lifecycle_restart.py's to show.
"""

from pathlib import Path

import msgspec
import pytest

from marloft.deploy.running import exclusive
from marloft.errors import ReleaseError, ServingError
from marloft.files import write_atomic
from tests.unit.deploy.control.serve_stage import LIVE, Stage

OLD = b'{"version_info": "somebody else\'s"}'


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
        "spawn exporter",
        # The archive's response timeout of 3 s twice, with room, and a second beyond.
        "drain for 3 and 21 s",
        "close watch",
        "stop exporter",
        "stop Envoy",
        "stop TorchServe",
    ]
    assert stage.held == ["supervisor"]
    assert stage.events("serving", "stopped") == [
        {"event": "serving", "release": 1},
        {"event": "stopped", "unanswered": 2},
    ]
    names = ("TorchServe", "Envoy", "exporter")
    files = {f"{what} of {name}" for what in ("record", "console") for name in names}
    assert stage.looked_after == {"log", *files}
    bench = stage.bench
    assert bench.torchserve.closed and bench.workflows.closed and bench.gate.closed


def test_what_an_earlier_serve_left_running_is_taken_over(stage: Stage) -> None:
    stage.server.left_over = stage.gateway.left_over = True
    write_atomic(stage.bench.project.routes, OLD)
    stage.serve()
    assert stage.routes == [OLD], "they stay until the controller has looked"
    assert stage.said[:2] == [
        "TorchServe runs already (process 41); taken over",
        "Envoy runs already (process 41); taken over",
    ]
    begun = [line for line in stage.story if line.startswith(("spawn", "wait"))]
    assert begun == ["spawn exporter"]
    assert stage.held == [
        "supervisor",
        "gateway",
        "operations",
        "Envoy admin",
        "TorchServe inference",
        "TorchServe management",
        "TorchServe metrics",
        "TorchServe gRPC inference",
        "TorchServe gRPC management",
    ]


def test_routes_lead_nowhere_before_a_new_torchserve_starts(stage: Stage) -> None:
    stage.gateway.left_over = True
    write_atomic(stage.bench.project.routes, OLD)
    stage.serve()
    at_spawn = msgspec.json.decode(stage.routes[0])
    assert at_spawn["version_info"].startswith("1#")
    upstream = [r for r in at_spawn["resources"][0]["virtual_hosts"][0]["routes"] if "route" in r]
    assert upstream == []


def test_only_the_ports_of_what_was_taken_over_may_be_held(stage: Stage) -> None:
    stage.gateway.left_over = True
    stage.serve()
    assert stage.held == ["supervisor", "gateway", "operations", "Envoy admin"]
    assert "spawn TorchServe" in stage.story
    assert "spawn Envoy" not in stage.story


def test_torchserve_that_ends_is_started_again_with_the_defaults_that_served(
    stage: Stage,
) -> None:
    def end() -> None:
        stage.server.alive = False

    stage.on = {LIVE: end, "TorchServe: well again": stage.stop.set}
    stage.serve()
    assert "TorchServe: ended with code -9 It is started again." in stage.said
    assert stage.events("ended") == [
        {"event": "ended", "process": "TorchServe", "why": "TorchServe ended with code -9"}
    ]
    assert stage.server.loads == [["ranker-1.0.mar"]]
    assert stage.story.count("spawn TorchServe") == 2


def test_gateway_that_ends_is_started_again_and_torchserve_is_not(stage: Stage) -> None:
    def end() -> None:
        stage.gateway.alive = False

    stage.on = {LIVE: end, "Envoy: well again": stage.stop.set}
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
