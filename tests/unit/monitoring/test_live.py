"""The live counts, against a confusion matrix by hand and against DuckDB over the same log."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marloft.contract.manifest import WorkerSettings
from marloft.contract.release import (
    Allocation,
    Arm,
    ReleasedModel,
    ReleasedVersion,
    release_path,
)
from marloft.files import write_json
from marloft.logs.read import open_log
from marloft.monitoring.live import Group, LiveQuality, LiveSettings
from marloft.monitoring.live_answers import Counts
from tests.releases import made_release
from tests.unit.logs import typed

ARMS = (("champion", "1.0"), ("challenger", "2.0"))


def moment(age_s: float) -> str:
    return datetime.fromtimestamp(time.time() - age_s, UTC).isoformat(timespec="milliseconds")


def answer(
    request_id: str, scores: list[float], /, *, age_s: float = 20, **more: Any
) -> dict[str, Any]:
    """An answer of items 1…n, where item k has the k-th score."""
    items = [1 + int(i) for i in np.argsort(-np.array(scores), kind="stable")]
    fields = dict.fromkeys(("release", "experiment", "arm"))
    record = {"schema": 1, "time": moment(age_s), "request_id": request_id, "attempt": 1}
    record |= {"role": "answer", "status": 200, "model": "ranker", "version": "1.0", **fields}
    return record | {"latency_ms": 1.0, "prediction": items, "scores": scores} | more


def outcome(
    request_id: str, item: int | str | None, event: str = "click", value: Any = None
) -> dict[str, Any]:
    record = {"schema": 1, "time": moment(0), "request_id": request_id}
    return record | {"item_id": item, "event": event, "value": value}


def append(var: Path, kind: str, *records: dict[str, Any]) -> None:
    path = var / "log" / kind / "a.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        stream.write("".join(json.dumps(record) + "\n" for record in records))


def only(found: dict[Group, Counts]) -> Counts:
    (counts,) = found.values()
    return counts


def test_counts_are_the_confusion_matrix_of_shown_items(tmp_path: Path) -> None:
    # Shown are items 2, 4, 3 with 0.9, 0.8, 0.3; item 1 with 0.2 is not.
    append(tmp_path, "predictions", answer("a", [0.2, 0.9, 0.3, 0.8]))
    append(tmp_path, "outcomes", outcome("a", 2), outcome("a", 3), outcome("a", 1))
    counts = only(LiveQuality(tmp_path).refresh())
    assert (counts.true_positive, counts.false_positive) == (1, 1)
    assert (counts.false_negative, counts.true_negative) == (1, 0)
    assert counts.accuracy == pytest.approx(1 / 3)
    assert (counts.precision, counts.recall) == (0.5, 0.5)
    assert counts.ctr == pytest.approx(2 / 3)


def test_counts_agree_with_duckdb_over_the_same_log(tmp_path: Path) -> None:
    draw = np.random.default_rng(3)
    for number in range(300):
        scores = draw.random(draw.integers(1, 7)).round(3).tolist()
        version = ARMS[number % 2][1]
        append(tmp_path, "predictions", answer(f"r{number}", scores, version=version))
        for item in draw.integers(1, 8, size=3).tolist():
            append(tmp_path, "outcomes", outcome(f"r{number}", item))
    found = {g.version: c for g, c in LiveQuality(tmp_path).refresh().items()}
    with open_log(tmp_path) as log:
        rows = log.connection.execute("""
            SELECT p.version, sum(least(3, json_array_length(p.prediction))),
                sum((SELECT count(*) FROM answered_outcomes o
                     WHERE o.request_id = p.request_id AND o.position <= 3))
            FROM predictions p GROUP BY p.version""").fetchall()
    assert {v: (c.shown, c.clicked) for v, c in found.items()} == {
        version: (int(shown), int(clicks)) for version, shown, clicks in rows
    }


def test_a_ratio_without_a_denominator_is_none(tmp_path: Path) -> None:
    append(tmp_path, "predictions", answer("a", [0.1, 0.2]))
    counts = only(LiveQuality(tmp_path).refresh())
    assert (counts.precision, counts.recall, counts.accuracy) == (None, None, 1.0)
    assert Counts().ctr is None


def test_conversion_counts_an_answer_once_whatever_the_item(tmp_path: Path) -> None:
    append(tmp_path, "predictions", answer("a", [0.9] * 5), answer("b", [0.9]))
    append(tmp_path, "outcomes", outcome("a", 5, "conversion"), outcome("a", 1, "conversion"))
    counts = only(LiveQuality(tmp_path).refresh())
    assert counts.conversion == 0.5
    assert counts.clicked == 0


def test_answers_count_after_they_settled_and_until_the_window_ends(tmp_path: Path) -> None:
    append(
        tmp_path,
        "predictions",
        *[answer(f"a{age}", [0.9], age_s=age) for age in (5, 15, 65, 75)],
    )
    quality = LiveQuality(tmp_path, LiveSettings(window_s=60, settle_s=10))
    assert only(quality.refresh()).answers == 2
    assert only(quality.refresh(time.time() + 10)).answers == 2
    assert quality.refresh(time.time() + 100) == {}


def test_outcome_that_comes_later_is_joined(tmp_path: Path) -> None:
    quality = LiveQuality(tmp_path)
    append(tmp_path, "predictions", answer("a", [0.9]))
    assert only(quality.refresh()).clicked == 0
    append(tmp_path, "outcomes", outcome("a", "1"), outcome("a", 1), outcome("unknown", 1))
    assert only(quality.refresh()).clicked == 1


def test_failed_shadow_and_repeated_answers_are_not_counted_twice(tmp_path: Path) -> None:
    append(
        tmp_path,
        "predictions",
        answer("a", [0.9]),
        answer("a", [0.9], attempt=2, version="2.0"),
        answer("b", [0.9], role="shadow"),
        answer("c", [0.9], status=500, prediction=None, scores=None),
    )
    found = LiveQuality(tmp_path).refresh()
    assert {group.version: counts.answers for group, counts in found.items()} == {"2.0": 1}


def test_answer_without_scores_counts_for_ctr_alone(tmp_path: Path) -> None:
    append(tmp_path, "predictions", answer("a", [0.9], scores=None, prediction="yes"))
    append(tmp_path, "outcomes", outcome("a", "yes"))
    counts = only(LiveQuality(tmp_path).refresh())
    assert (counts.ctr, counts.accuracy) == (1.0, None)


def test_capacity_drops_the_oldest(tmp_path: Path) -> None:
    append(tmp_path, "predictions", *[answer(str(n), [0.9]) for n in range(50)])
    quality = LiveQuality(tmp_path, LiveSettings(capacity=20))
    assert only(quality.refresh()).answers == 20


def test_rows_count_against_the_capacity_as_answers_do(tmp_path: Path) -> None:
    names = [f"r{number}" for number in range(8)]
    append(tmp_path, "predictions", *[settled(typed.record(name, "grades")) for name in names])
    quality = LiveQuality(tmp_path, LiveSettings(capacity=20))
    # Of four rows each.
    assert [group.model for group in quality.refresh()] == names[3:]


def settled(record: dict[str, Any]) -> dict[str, Any]:
    """The record, old enough to count, as of a model called as the request."""
    return record | {"time": moment(20), "model": record["request_id"]}


@pytest.fixture
def all_types(tmp_path: Path) -> Path:
    append(tmp_path, "predictions", *[settled(record) for record in typed.records()])
    return tmp_path


def by_model(var: Path) -> dict[str, Counts]:
    return {group.model: counts for group, counts in LiveQuality(var).refresh().items()}


def test_clicks_of_every_type_are_those_that_duckdb_finds(all_types: Path) -> None:
    asked: dict[str, list[Any]] = {
        "ranking": [2, "0", 3, None],
        "grades": [0, 3, 3, 4, "good", None],
        "one-grade": [None, 0],
        "vector": [None, 0, 1],
        "vectors": [1],
        "object": ["a", None],
        "undeclared": [3, 3, 9, None],
        "undeclared-one": ["cat", 0],
        "one-number": [2.5, "2.5"],
    }
    sent = [outcome(name, item) for name, items in asked.items() for item in items]
    append(all_types, "outcomes", *[each for each in sent if each["item_id"] != 2.5])
    found = {model: (c.shown, c.clicked) for model, c in by_model(all_types).items()}
    assert found["vector"] == (1, 1)
    assert found["grades"] == (4, 2)
    with open_log(all_types) as log:
        rows = log.connection.execute("""
            SELECT p.model, shown_entries(p.response, p.entries, p.prediction, 3),
                (SELECT count(DISTINCT position) FROM answered_outcomes o
                 WHERE o.request_id = p.request_id AND is_shown(o.response, o.position, 3))
            FROM predictions p""").fetchall()
    assert found == {model: (shown, clicked) for model, shown, clicked in rows}


def test_labels_prove_a_classification_right_or_wrong(all_types: Path) -> None:
    # Predicted: good, bad, good, bad.
    told = [outcome("grades", row, "label", label) for row, label in enumerate(["good", "good"])]
    append(all_types, "outcomes", *told, outcome("grades", 1, "label", "bad"))
    append(all_types, "outcomes", outcome("one-grade", None, "label", "good"))
    found = by_model(all_types)
    assert (found["grades"].labelled, found["grades"].accuracy) == (2, 0.5)
    assert found["one-grade"].accuracy == 1.0
    # Neither label is declared to be the positive one.
    assert (found["grades"].precision, found["grades"].recall) == (None, None)
    assert found["yes-no"].accuracy is None


def test_true_is_positive(all_types: Path) -> None:
    append(all_types, "outcomes", outcome("yes-no", 0, "label", False))
    append(all_types, "outcomes", outcome("yes-no", 1, "label", False))
    counts = by_model(all_types)["yes-no"]
    assert (counts.accuracy, counts.precision, counts.recall) == (0.5, 0.0, None)


def test_error_of_a_regression_is_its_distance_from_the_label(all_types: Path) -> None:
    append(all_types, "outcomes", outcome("numbers", 0, "label", 3), outcome("numbers", 1, "label"))
    append(all_types, "outcomes", outcome("one-number", None, "label", 0.5))
    found = by_model(all_types)
    assert (found["numbers"].measured, found["numbers"].mean_absolute_error) == (1, 1.0)
    assert found["one-number"].mean_absolute_error == 2.0
    assert found["numbers"].accuracy is None


def test_label_of_what_cannot_be_judged_changes_nothing(all_types: Path) -> None:
    before = by_model(all_types)
    for name in ("ranking", "undeclared", "vector", "object"):
        append(all_types, "outcomes", outcome(name, None, "label", 1), outcome(name, 0, "label", 1))
    append(all_types, "outcomes", outcome("numbers", 0, "label", "3"))
    append(all_types, "outcomes", outcome("grades", 9, "label", "good"))
    assert by_model(all_types) == before


def test_role_is_that_of_the_releases_first_arm(tmp_path: Path) -> None:
    write_release(tmp_path)
    facts: dict[str, Any] = {"release": 1, "experiment": "feed_ab"}
    append(
        tmp_path,
        "predictions",
        *[answer(arm, [0.9], arm=arm, version=version, **facts) for arm, version in ARMS],
        answer("outside", [0.9]),
    )
    found = LiveQuality(tmp_path).refresh()
    assert {group.arm: group.role for group in found} == {
        "champion": "control",
        "challenger": "treatment",
        "": "",
    }


def write_release(var: Path) -> None:
    blank = ReleasedVersion(sha256="0" * 64, settings=WorkerSettings())
    arms = [Arm(name=name, version=version, weight=50) for name, version in ARMS]
    split = Allocation(name="feed_ab", salt="feed_ab", unit="user_id", arms=arms)
    versions = {version: blank for _, version in ARMS}
    model = ReleasedModel(default="1.0", versions=versions, allocation=split)
    release = made_release({"ranker": model}, 1)
    write_json(release_path(var / "releases", 1), release)
