"""Whatever fails in a look is a fault that ends nothing, and is over when it has worked again."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from marloft.deploy.control.controller import Controller
from marloft.deploy.running import ask_live
from marloft.deploy.state.folder import StateFolder
from marloft.errors import ServingError
from tests.unit.deploy.control.serve_stage import LIVE, InMemory, Stage

FULL = OSError(28, "No space left on device")


@pytest.fixture
def stage(tmp_path: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    stage = Stage(tmp_path, store, monkeypatch)
    stage.release()
    return stage


def failing(error: Exception) -> Callable[..., None]:
    """Return what fails twice and then works."""
    left = [error, error]

    def fail(*_: object) -> None:
        if left:
            raise left.pop()

    return fail


@pytest.mark.parametrize("error", [FULL, ServingError("no"), ZeroDivisionError("by nothing")])
@pytest.mark.parametrize(
    ("owner", "name", "subject"),
    [
        (Controller, "wait", "waiting for the next release"),
        (StateFolder, "check", "looking after files"),
        (InMemory, "is_alive", "looking after Envoy"),
        (Stage, "delete_if_due", "deleting old log segments"),
    ],
)
def test_part_of_a_look_that_fails_ends_nothing(
    stage: Stage,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    name: str,
    subject: str,
    error: Exception,
) -> None:
    works, fail = getattr(owner, name), failing(error)

    def tried(*words: object) -> object:
        if owner is not InMemory or words[0] is stage.gateway:
            fail()
        return works(*words)

    monkeypatch.setattr(owner, name, tried)
    monkeypatch.setattr("marloft.deploy.control.upkeep._REST_EVERY_S", 0)
    monkeypatch.setattr("marloft.deploy.control.upkeep._PAUSE_S", 0)
    stage.on = {f"{subject}: well again": stage.stop.set}
    stage.serve()
    (told,) = [line for line in stage.said if line.startswith(f"{subject}: ")][:1]
    assert str(error) in told or repr(error) in told
    assert "register ranker 1.0" in stage.said, "the rest of the look was done"


def test_mistake_in_the_controller_ends_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    works, fail = Controller.step, failing(KeyError("no such model"))

    def step(controller: Controller) -> bool:
        fail()
        return works(controller)

    monkeypatch.setattr(Controller, "step", step)
    monkeypatch.setattr(Controller, "wait", lambda *_: None)
    stage.serve()
    assert [line for line in stage.said if "no such model" in line and "Traceback" in line]
    assert LIVE in stage.said


def test_faults_are_told_at_the_endpoint_while_they_last(stage: Stage) -> None:
    seen: list[dict[str, str]] = []

    def look() -> None:
        seen.append(ask_live(stage.ports.supervisor).faults)
        stage.gateway.alive = False
        stage.on = {"Envoy: ended with code -9 It is started again.": look_again}

    def look_again() -> None:
        stage.on = {"Envoy: well again": end}

    def end() -> None:
        live = ask_live(stage.ports.supervisor)
        seen.append(live.faults)
        assert live.restarts == {"Envoy": 1}
        stage.stop.set()

    stage.on = {LIVE: look}
    stage.serve()
    assert seen == [{}, {}]


def test_silent_torchserve_is_not_asked_and_nothing_is_live(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Controller, "wait", lambda *_: stage.stop.wait(0.02))

    def silence() -> None:
        stage.server.silent = stage.bench.torchserve.silent = True

    def told() -> None:
        stage.bench.torchserve.asked = 0

    stage.on = {
        LIVE: silence,
        "TorchServe: does not answer; it is started again after 1 s": told,
        "TorchServe: did not answer for 1 s. It is started again.": stage.stop.set,
    }
    stage.serve()
    assert stage.bench.torchserve.asked == 0
    assert not stage.bench.live().live
    assert stage.story.count("spawn TorchServe") == 2


def test_files_of_serving_are_its_owners_alone(stage: Stage) -> None:
    before = os.umask(0o022)
    try:
        stage.serve()
        after = os.umask(0o022)
    finally:
        os.umask(before)
    assert after == 0o022, "the program that called `serve` keeps its own"
    var = stage.bench.project.var
    assert var.stat().st_mode & 0o777 == 0o700
    assert (var / "events.jsonl").stat().st_mode & 0o777 == 0o600
