"""When the watch moves a roll-out, from counters and logs that tests set; time is theirs too."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from marloft.contract.policy import Guardrails
from marloft.contract.release import Release
from marloft.deploy.gateway.retries import longest_request_s
from marloft.monitoring.live import LiveSettings
from tests.unit.deploy.guardrails.test_click_log import Logs
from tests.unit.deploy.guardrails.watch_harness import (
    CANARY,
    CONTROL,
    EXPERIMENT,
    NEW_BY_NAME,
    OLD_BY_NAME,
    Stage,
    full_step,
    release,
    rollout,
)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    found = Stage(tmp_path)
    yield found
    found.close()


def serve_badly(stage: Stage, current: Release, seconds: int = 8) -> None:
    stage.look(current)
    for _ in range(seconds):
        stage.serve(CONTROL, 40)
        stage.serve(CANARY, 10, 1)
        stage.look(current)


def test_bad_canary_is_abandoned_once_with_its_figures(stage: Stage) -> None:
    serve_badly(stage, release(rollout(step=1), number=4))
    ((number, model, move, reason),) = stage.moves
    assert (number, model, move) == (4, "ranker", "abandon")
    assert reason.startswith("2.0 rolled back at 20 %: error_ratio 10.0 % against 0.0 % at 1.0")


def test_bad_canary_without_a_guardrail_is_left_alone(stage: Stage) -> None:
    serve_badly(stage, release(rollout(step=1), guardrails=Guardrails()))
    assert stage.moves == []


def test_good_canary_advances_after_hold_and_answers(stage: Stage) -> None:
    current = release(rollout(step=0))
    stage.look(current)
    stage.serve(CANARY, 19)
    stage.now_s = 60
    state = stage.look(current)["ranker"]
    assert (state.percent, state.held_s, state.answered, stage.moves) == (5, 60, 19, [])
    stage.serve(CANARY, 1)
    stage.look(current)
    ((_, _, move, reason),) = stage.moves
    assert (move, reason) == ("advance", "2.0 held 5 % for 61 s and 20 answers")


def test_errors_are_no_answers_that_a_step_waits_for(stage: Stage) -> None:
    current = release(rollout(step=0), guardrails=Guardrails())
    stage.look(current)
    stage.serve(CANARY, 500, 500)
    stage.now_s = 100
    assert stage.look(current)["ranker"].answered == 0
    assert stage.moves == []


def test_overloaded_looks_are_set_aside_and_the_step_waits(stage: Stage) -> None:
    current = release(rollout(step=0))
    stage.look(current)
    for _ in range(5):
        stage.serve(CONTROL, 40)
        stage.serve(CANARY, 10, 5)
        stage.counted.add(CONTROL, 400, "503", "UO")
        stage.counted.add(CANARY, 20, "503", "UO")
        state = stage.look(current)["ranker"]
    assert (state.held_s, state.answered, state.set_aside) == (0, 0, 5)
    assert state.readings[0].value is None
    stage.now_s += longest_request_s(current)
    stage.serve(CANARY, 7)
    state = stage.look(current)["ranker"]
    assert (state.answered, state.set_aside) == (7, 5)
    assert state.held_s == longest_request_s(current) + 1
    assert stage.moves == []


def test_what_is_counted_in_a_pause_is_not_judged_and_the_step_waits(stage: Stage) -> None:
    current = release(rollout(step=0))
    stage.look(current)
    for _ in range(9):
        stage.serve(CANARY, 10, 10)
        stage.watch.pause()
        stage.look(current)
    state = stage.look(current)["ranker"]
    assert (state.held_s, state.answered, state.set_aside) == (1, 0, 0)
    assert (state.readings[0].value, stage.moves) == (None, [])


def test_next_step_holds_anew_and_keeps_its_evidence(stage: Stage) -> None:
    first, second = release(rollout(step=0)), release(rollout(step=1), number=2)
    stage.look(first)
    stage.serve(CONTROL, 40)
    stage.serve(CANARY, 30, 3)
    stage.now_s = 60
    before = stage.look(first)["ranker"]
    assert before.readings[0].evidence > 1
    after = stage.look(second)["ranker"]
    assert (after.percent, after.held_s, after.answered) == (20, 0, 0)
    assert after.readings[0].evidence == before.readings[0].evidence


def test_full_step_counts_the_version_without_an_arm(stage: Stage) -> None:
    current = release(full_step())
    state = stage.look(current)["ranker"]
    for _ in range(9):
        stage.serve(NEW_BY_NAME, 10, 2)
        stage.serve(OLD_BY_NAME, 10)
        state = stage.look(current).get("ranker", state)
    assert state.readings[0].control is None
    ((_, _, move, reason),) = stage.moves
    assert move == "abandon"
    assert "error_ratio 20.0 %, limit 1.0 %" in reason


def test_what_was_counted_before_the_watch_is_not_held_against_it(stage: Stage) -> None:
    stage.serve(CANARY, 900, 900)
    idle = release(EXPERIMENT, allocation=None)
    for _ in range(3):
        stage.look(idle)
    stage.serve(CANARY, 900, 900)
    state = stage.look(release(rollout(step=0), number=2))["ranker"]
    assert state.readings[0].value is None


def test_roll_out_that_begins_again_is_watched_anew(stage: Stage) -> None:
    stage.look(release(rollout(step=1)))
    stage.serve(CANARY, 10, 2)
    assert stage.look(release(rollout(step=1)))["ranker"].readings[0].value == 0.2
    again = stage.look(release(rollout(step=0), number=3))["ranker"]
    assert again.readings[0].value is None


@pytest.mark.parametrize("model", [rollout(0), full_step(), EXPERIMENT])
def test_refused_version_is_abandoned_with_the_reason(stage: Stage, model: Any) -> None:
    assert stage.look(release(model), refused={("ranker", "2.0"): "its workers die"}) == {}
    ((_, _, move, reason),) = stage.moves
    assert move == "abandon"
    assert reason.endswith("%: its workers die")


def test_refused_version_that_is_not_under_watch_changes_nothing(stage: Stage) -> None:
    stage.look(release(rollout(0)), refused={("ranker", "3.0"): "no", ("other", "2.0"): "no"})
    assert stage.moves == []


def test_restarts_count_from_the_beginning_of_the_watch(stage: Stage) -> None:
    current = release(rollout(step=0))
    for count in (7, 8, 9):
        stage.look(current, restarts={("ranker", "2.0"): count, ("ranker", "1.0"): 4})
    assert stage.moves == []
    stage.look(current, restarts={("ranker", "2.0"): 10, ("ranker", "1.0"): 4})
    ((_, _, move, reason),) = stage.moves
    assert (move, "worker_restarts 3 against 0 at 1.0, limit 3" in reason) == ("abandon", True)


def test_experiment_is_ended_by_a_guardrail_and_never_advances(stage: Stage) -> None:
    current = release(EXPERIMENT)
    stage.look(current)
    stage.now_s = 1e5
    for _ in range(9):
        for series, errors in ((CONTROL, 0), (CANARY, 2)):
            stage.serve(replace(series, experiment="feed_ab"), 10, errors)
        stage.look(current)
    ((_, _, move, _),) = stage.moves
    assert move == "abandon"


def test_fewer_clicks_in_the_log_end_a_roll_out(stage: Stage) -> None:
    current = release(rollout(step=1), number=3)
    stage.look(current)
    logs = Logs(stage.var)
    for user in range(300):
        arm = "canary" if user % 5 == 0 else "control"
        logs.answer(f"r{user}", user_id=str(user), arm=arm)
        for item in (5, 6) if arm == "control" else (5,):
            if user % 3:
                logs.click(f"r{user}", item)
    stage.look(current)
    assert stage.moves == [], "readers still have time"
    log = stage.watch._clicks
    assert log is not None
    log._settings = LiveSettings(settle_s=time.time() - logs.start_s - 0.001)
    stage.look(current)
    ((_, _, move, reason),) = stage.moves
    assert move == "abandon"
    assert "CTR 22.2 % against 44.4 % at 1.0, limit a drop of 10.0 %" in reason


def test_release_that_is_written_and_not_yet_live_is_not_moved_again(stage: Stage) -> None:
    current = release(rollout(step=1), number=4)
    serve_badly(stage, current, seconds=20)
    assert len(stage.moves) == 1
    assert stage.look(current) == {}
