"""The loop of the controller, with a TorchServe and a gateway in memory."""

import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from marloft.contract.policy import RolloutPlan
from marloft.contract.release import (
    Allocation,
    Arm,
    ReleasedModel,
    Rollout,
    release_path,
    releases_folder,
)
from marloft.deploy.control import controller as module
from tests.unit.deploy.control.fakes import Bench

ONE, OTHER = ("ranker", "1.0"), ("ranker", "1.1")


@pytest.fixture
def bench(tmp_path: Path, store: Path) -> Bench:
    """A bench whose controller has started on release 1: ranker 1.0."""
    bench = Bench(tmp_path, store)
    first = bench.release(1, ReleasedModel(default="1.0", versions={"1.0": bench.pin("1.0")}))
    bench.controller.start(first, running=False)
    return bench


def both(bench: Bench, default: str, **more: object) -> ReleasedModel:
    versions = {version: bench.pin(version) for version in ("1.0", "1.1")}
    return ReleasedModel(default=default, versions=versions, **more)  # type: ignore[arg-type]


def test_a_release_comes_live_step_by_step(bench: Bench) -> None:
    assert bench.label == "1"
    bench.controller.step()
    assert bench.said == ["register ranker 1.0"]
    assert not bench.live().live
    assert bench.live().versions["ranker"]["1.0"].state == "loading"
    bench.controller.step()
    assert bench.gate.asked == [ONE]
    bench.steps(2)
    assert bench.live().live
    assert bench.live().versions["ranker"]["1.0"].state == "ready"
    assert bench.said[-1] == "release 1 is live: ranker 1.0"


def test_a_live_release_is_told_once_and_asked_for_nothing_more(bench: Bench) -> None:
    bench.steps()
    said, asked = list(bench.said), list(bench.gate.asked)
    bench.steps()
    assert (bench.said, bench.gate.asked) == (said, asked)


def test_each_look_asks_torchserve_once(bench: Bench) -> None:
    bench.steps()
    before = bench.torchserve.asked
    bench.controller.step()
    assert bench.torchserve.asked == before + 1


def test_a_version_that_left_is_unregistered_after_its_last_request(bench: Bench) -> None:
    bench.steps()
    bench.release(2, ReleasedModel(default="1.1", versions={"1.1": bench.pin("1.1")}))
    for _ in range(4):
        bench.controller.step()
    assert bench.label == "2"
    assert set(bench.torchserve.models) == {ONE, OTHER}, "requests may be on their way to it"
    bench.steps(3)
    assert set(bench.torchserve.models) == {OTHER}
    assert bench.torchserve.models[OTHER].default
    assert bench.live().live


def test_what_the_gateway_does_not_take_is_not_live(bench: Bench) -> None:
    bench.steps()
    bench.acceptance.stuck = True
    bench.release(2, both(bench, "1.0"))
    bench.steps(10)
    assert (bench.live().release, bench.live().live, bench.label) == (2, False, "1")
    why = "Envoy does not say why; see envoy.log"
    said = f"the gateway has not taken the clusters of release 2: {why}"
    assert bench.live().complaint == said
    assert bench.said.count(f"not yet: {said}") == 1
    bench.acceptance.stuck = False
    bench.steps(2)
    assert bench.label == "2"
    assert (bench.live().live, bench.live().complaint) == (True, None)


def test_a_refused_version_leaves_the_traffic_where_it_was(bench: Bench) -> None:
    bench.steps()
    bench.gate.faults[OTHER] = "scores differ"
    bench.release(2, both(bench, "1.1"))
    bench.steps()
    assert bench.label == "2;ranker=1"
    assert set(bench.torchserve.models) == {ONE}
    assert bench.said[-1].startswith("refused ranker 1.1: scores differ")
    assert bench.live().versions["ranker"]["1.1"].state == "refused"
    assert not bench.live().live
    assert bench.watch.refused == {OTHER: "scores differ"}, "the watch may roll it back"


def test_what_torchserve_refuses_to_register_is_refused(bench: Bench) -> None:
    bench.torchserve.refuses = "no such archive"
    bench.steps(2)
    assert bench.said == ["refused ranker 1.0: no such archive"]


def test_other_bytes_than_the_release_pins_are_not_registered(bench: Bench) -> None:
    pinned = bench.pin("1.1")
    bench.release(2, ReleasedModel(default="1.0", versions={"1.0": pinned}))
    bench.steps(2)
    assert bench.torchserve.models == {}
    assert "is not the archive of release 2" in bench.said[-1]


def test_a_silent_torchserve_is_complained_of_once_and_tried_again(bench: Bench) -> None:
    bench.steps()
    bench.torchserve.silent = True
    bench.steps(3)
    silence = "TorchServe does not answer GET /models: silent."
    assert [line for line in bench.said if line.startswith("not yet")] == [f"not yet: {silence}"]
    assert (bench.live().live, bench.live().complaint) == (False, silence)
    bench.torchserve.silent = False
    bench.steps(1)
    assert (bench.live().live, bench.live().complaint) == (True, None)


def test_a_damaged_release_leaves_what_serves_and_is_complained_of(bench: Bench) -> None:
    bench.steps()
    release_path(releases_folder(bench.project.var), 2).write_text("{")
    bench.steps(2)
    assert (bench.live().release, bench.live().live) == (1, False)
    assert "000002.json" in (bench.live().complaint or "")
    assert bench.label == "1"


def test_without_a_readable_release_there_is_nothing_to_do(tmp_path: Path, store: Path) -> None:
    bench = Bench(tmp_path, store)
    bench.steps(1)
    (line,) = bench.said
    assert line.startswith("not yet: no release in ")
    assert bench.controller.torchserve_ended("killed") == []
    assert not bench.project.routes.exists()


def test_settings_that_only_a_restart_changes_are_complained_of(bench: Bench) -> None:
    bench.steps()
    bench.release(2, ReleasedModel(default="1.0", versions={"1.0": bench.pin("1.0", batch_size=3)}))
    bench.steps()
    assert bench.live().live
    assert "runs with batch_size 16, release 2 says 3" in (bench.live().complaint or "")


def test_the_number_of_workers_changes_at_run_time(bench: Bench) -> None:
    bench.steps()
    bench.release(2, ReleasedModel(default="1.0", versions={"1.0": bench.pin("1.0", workers=3)}))
    bench.steps()
    assert bench.torchserve.models[ONE].min_workers == 3
    assert "scale ranker 1.0 to 3" in bench.said


def test_the_watch_judges_what_is_live_and_its_silence_stops_nothing(bench: Bench) -> None:
    bench.controller.step()
    assert bench.watch.judged == []
    bench.steps()
    assert set(bench.watch.judged) == {1}
    bench.watch.error = "Envoy is away"
    bench.steps(1)
    assert (bench.live().live, bench.live().watches) == (True, {})
    assert bench.live().complaint == "nobody watches the roll-out: Envoy is away"


def test_what_is_counted_while_torchserve_does_not_answer_is_not_judged(bench: Bench) -> None:
    bench.steps()
    before = bench.watch.pauses
    bench.steps(1)
    assert bench.watch.pauses == before
    bench.torchserve.silent = True
    bench.steps(1)
    assert bench.watch.pauses == before + 1
    bench.controller.torchserve_ended("killed")
    assert bench.watch.pauses == before + 2


def test_workflows_come_and_go_with_the_releases(bench: Bench) -> None:
    model = ReleasedModel(default="1.0", versions={"1.0": bench.pin("1.0")})
    bench.release(2, model, workflows=("feed_ab",))
    bench.steps()
    assert bench.workflows.names == {"feed_ab"}
    bench.workflows.names.add("by_hand")
    bench.release(3, model)
    bench.steps()
    assert bench.workflows.names == {"by_hand"}


def test_an_experiment_that_ended_keeps_its_file(bench: Bench) -> None:
    arms = [
        Arm(name="control", version="1.0", weight=1),
        Arm(name="treatment", version="1.1", weight=1),
    ]
    split = Allocation(name="feed_ab", salt="s", unit="user_id", arms=arms)
    bench.release(2, both(bench, "1.0", allocation=split))
    bench.steps()
    assert bench.allocation("feed_ab")["running"] is True
    bench.release(3, both(bench, "1.1"))
    bench.steps()
    file = bench.allocation("feed_ab")
    assert (file["running"], file["default"], file["release"]) == (False, "1.1", 3)


def test_a_successor_asks_what_runs_before_it_changes_anything(bench: Bench) -> None:
    bench.steps()
    routes = bench.project.routes.read_bytes()
    bench.gate.asked.clear()
    successor = bench.successor()
    successor.start(bench.release(2, both(bench, "1.0")), running=True)
    assert bench.gate.asked == [ONE], "1.1 is not registered yet"
    assert bench.project.routes.read_bytes() == routes
    assert bench.live().live, "the report of the earlier one stands"
    bench.controller = successor
    bench.steps()
    assert (bench.label, bench.live().live) == ("2", True)


def test_a_successor_does_not_wait_for_a_silent_torchserve_for_ever(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ADOPT_S", 0.1)
    bench.torchserve.silent = True
    began = time.monotonic()
    bench.successor().start(bench.release(2, both(bench, "1.0")), running=True)
    assert 0.1 <= time.monotonic() - began < 5


def test_after_torchserves_end_the_gateway_answers_503_until_all_is_loaded_again(
    bench: Bench,
) -> None:
    bench.steps()
    serving = bench.project.routes.read_bytes()
    assert bench.controller.torchserve_ended("it was killed") == ["ranker-1.0.mar"]
    assert bench.project.routes.read_bytes() != serving
    assert (bench.live().live, bench.live().complaint) == (False, "it was killed")
    bench.torchserve.models.clear()
    bench.steps()
    assert bench.project.routes.read_bytes() == serving
    assert bench.live().live


def test_requests_of_earlier_releases_count_for_the_longest(bench: Bench) -> None:
    short = bench.controller.longest_request_s
    slow = bench.pin("1.0", response_timeout_s=100)
    bench.release(2, ReleasedModel(default="1.0", versions={"1.0": slow}))
    bench.steps(1)
    long = bench.controller.longest_request_s
    assert long > short
    bench.release(3, ReleasedModel(default="1.0", versions={"1.0": bench.pin("1.0")}))
    bench.steps(1)
    assert bench.controller.longest_request_s == long


def test_it_looks_again_at_once_soon_or_later(bench: Bench) -> None:
    def waited(stop: threading.Event | None = None, *, hurry: bool = False) -> float:
        began = time.monotonic()
        bench.controller.wait(stop or threading.Event(), lambda: hurry)
        return time.monotonic() - began

    stopped = threading.Event()
    stopped.set()
    bench.controller.step()
    assert 0.1 <= waited() < 1.5, "something changes"
    bench.controller.step()
    assert waited() < 0.05, "a version was admitted: it can get routes at once"
    bench.steps(2)
    assert waited(stopped) < 1
    assert waited(hurry=True) < 1
    bench.release(2, both(bench, "1.0"))
    assert waited() < 1, "there is a new release"


def test_what_has_routes_is_probed_and_nothing_else(bench: Bench) -> None:
    assert (bench.probes.versions, bench.probes.health) == ({}, False)
    bench.steps()
    bench.release(2, both(bench, "1.0"))
    bench.gate.faults[OTHER] = "differs"
    bench.steps()
    assert (set(bench.probes.versions), bench.probes.health) == ({ONE}, True)
    bench.controller.torchserve_ended("it was killed")
    assert (bench.probes.versions, bench.probes.health) == ({}, False)


def test_a_fault_wakes_it_and_is_reported_while_it_lasts(bench: Bench) -> None:
    def waited() -> float:
        began = time.monotonic()
        bench.controller.wait(threading.Event(), lambda: False)
        return time.monotonic() - began

    bench.steps()
    assert bench.live().faults == {}
    bench.faults.found("ranker 1.0", "no answer")
    assert waited() < 1
    bench.steps(1)
    assert bench.live().faults == {"ranker 1.0": "no answer"}
    assert waited() > 1, "once"
    bench.faults.over("ranker 1.0")
    bench.steps(1)
    assert bench.live().faults == {}


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_a_dead_worker_wakes_it_once_and_rests_the_split_until_it_is_back(
    bench: Bench, worker: subprocess.Popen[bytes]
) -> None:
    named = {"control": "1.0", "treatment": "1.1"}
    arms = [Arm(name=name, version=v, weight=1) for name, v in named.items()]
    split = Allocation(name="ab", salt="s", unit="user_id", arms=arms)
    bench.torchserve.processes[OTHER] = worker.pid
    bench.release(2, both(bench, "1.0", allocation=split))
    bench.steps()
    assert bench.live().live
    whole = bench.project.routes.read_bytes()
    worker.kill()
    # Not reaped: TorchServe's own worker is a zombie for a moment too.
    began = time.monotonic()
    bench.controller.wait(threading.Event(), lambda: False)
    assert time.monotonic() - began < 0.9, "a watched release is looked at each second"
    bench.steps(1)
    assert b"weighted_clusters" not in bench.project.routes.read_bytes()
    assert bench.said[-1] == "no worker lives of ranker 1.1"
    bench.steps(1)
    began = time.monotonic()
    bench.controller.wait(threading.Event(), lambda: False)
    assert time.monotonic() - began >= 0.9, "one death wakes it once"
    del bench.torchserve.processes[OTHER]
    bench.steps(1)
    assert bench.project.routes.read_bytes() == whole
    assert bench.said[-1] == "a worker is back of ranker 1.1"
    assert bench.gate.asked.count(OTHER) == 1, "the same bytes are not asked again"


def test_a_rollout_under_watch_is_looked_at_every_second(bench: Bench) -> None:
    plan = RolloutPlan(steps=[5])
    rollout = Rollout(version="1.1", before="1.0", plan=plan, step=1)
    bench.release(2, both(bench, "1.1", rollout=rollout))
    bench.steps()
    assert bench.live().live
    began = time.monotonic()
    bench.controller.wait(threading.Event(), lambda: False)
    assert 0.9 <= time.monotonic() - began < 1.9
