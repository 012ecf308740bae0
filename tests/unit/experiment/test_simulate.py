"""Simulated logs: the same for a seed, with the arms that the split gives."""

from pathlib import Path

import msgspec
import pytest

from harness.factories import REPOSITORY
from marloft.assignment import arm_of
from marloft.contract.records import (
    OUTCOMES_FOLDER,
    PREDICTIONS_FOLDER,
    OutcomeRecord,
    PredictionRecord,
)
from marloft.contract.release import read_release, releases_folder
from marloft.experiment.design import allocation_of, read_experiment
from marloft.experiment.simulate import MODEL, Truth, World, write_logs, write_release

EXPERIMENT = read_experiment(REPOSITORY / "workflows" / "feed_ab" / "experiment.yaml")
WORLD = World(
    users=200,
    requests_per_user=5,
    truths=[
        Truth(ctr=0.6, model_ms=1.0, latency_ms=4.0),
        Truth(ctr=0.3, model_ms=0.5, latency_ms=2.0),
    ],
)


@pytest.fixture(scope="module")
def var(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("var")
    write_logs(EXPERIMENT, WORLD, folder)
    return folder


@pytest.fixture(scope="module")
def predictions(var: Path) -> list[PredictionRecord]:
    lines = (var / PREDICTIONS_FOLDER / "release-1.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line, type=PredictionRecord) for line in lines]


def test_release_carries_the_experiments_split(tmp_path: Path) -> None:
    write_release(EXPERIMENT, tmp_path, 3)
    model = read_release(releases_folder(tmp_path)).models[MODEL]
    assert model.allocation == allocation_of(EXPERIMENT)
    assert model.default == EXPERIMENT.control.version


def test_every_user_asks_as_often_as_the_world_says(predictions: list[PredictionRecord]) -> None:
    users = [each.user_id for each in predictions]
    assert {users.count(user) for user in users} == {WORLD.requests_per_user}
    assert len(set(users)) == WORLD.users


def test_every_record_has_the_arm_that_the_split_gives(
    predictions: list[PredictionRecord],
) -> None:
    split = allocation_of(EXPERIMENT)
    assert [each.arm for each in predictions] == [
        arm_of(split, each.user_id or "") for each in predictions
    ]


def test_clicks_are_about_as_frequent_as_the_truth_of_their_arm(
    var: Path, predictions: list[PredictionRecord]
) -> None:
    lines = (var / OUTCOMES_FOLDER / "release-1.jsonl").read_bytes().splitlines()
    arms = {each.request_id: each.arm for each in predictions}
    clicked = [arms[msgspec.json.decode(line, type=OutcomeRecord).request_id] for line in lines]
    for arm, truth in zip(EXPERIMENT.arms, WORLD.truths, strict=True):
        shown = EXPERIMENT.metrics.ctr.top * sum(each.arm == arm.name for each in predictions)
        # About 500 requests of 100 users that differ: a standard error of 0.02.
        assert clicked.count(arm.name) / shown == pytest.approx(truth.ctr, abs=0.1)


def test_logs_are_the_same_for_a_seed(var: Path, tmp_path: Path) -> None:
    for folder, seed in (("same", 0), ("other", 1)):
        world = msgspec.structs.replace(WORLD, seed=seed)
        write_logs(EXPERIMENT, world, tmp_path / folder)
    log, same, other = (
        (folder / PREDICTIONS_FOLDER / "release-1.jsonl").read_bytes()
        for folder in (var, tmp_path / "same", tmp_path / "other")
    )
    assert log == same != other
