import json
import math
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from marloft.assignment import arm_of
from marloft.contract.release import Arm
from marloft.experiment.analyze import analyze
from marloft.experiment.design import Experiment, allocation_of, read_experiment
from marloft.experiment.results import Metric, Report
from marloft.experiment.simulate import Truth, World, write_logs, write_release

pytestmark = pytest.mark.slow


FOLDER = Path(__file__).parents[3] / "workflows"
EXPERIMENT = read_experiment(FOLDER / "feed_ab/experiment.yaml")
FP32 = Truth(ctr=0.6, model_ms=1.0, latency_ms=4.0)
INT8 = Truth(ctr=0.6, model_ms=0.6, latency_ms=3.6)
METRICS: tuple[Metric, Metric] = ("ctr", "model_time")
Record = dict[str, Any]


def simulate(var: Path, users: int, *truths: Truth, experiment: Experiment = EXPERIMENT) -> Path:
    write_release(experiment, var)
    write_logs(experiment, World(users=users, requests_per_user=1, truths=[*truths]), var)
    return var


def edit(var: Path, change: Callable[[list[Record]], list[Record]]) -> None:
    path = next((var / "log/predictions").glob("*.jsonl"))
    records = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(record) + "\n" for record in change(records)))


def failed(report: Report) -> set[str]:
    return {check.code for check in report.failed}


def reweighted(experiment: Experiment, *weights: int) -> Experiment:
    arms = [
        Arm(name=arm.name, version=arm.version, weight=weight)
        for arm, weight in zip(experiment.arms, weights, strict=True)
    ]
    return msgspec.structs.replace(experiment, arms=arms)


@pytest.fixture(scope="module")
def large_var(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(tmp_path_factory.mktemp("large"), 50_000, FP32, INT8)


@pytest.fixture
def copy_of_large(large_var: Path, tmp_path: Path) -> Path:
    shutil.copytree(large_var, tmp_path / "var")
    return tmp_path / "var"


@pytest.fixture(scope="module")
def small_var(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(tmp_path_factory.mktemp("small"), 600, FP32, INT8)


@pytest.fixture
def copy_of_small(small_var: Path, tmp_path: Path) -> Path:
    shutil.copytree(small_var, tmp_path / "var")
    return tmp_path / "var"


def test_log_of_50000_users_is_accepted_and_finds_what_was_planted(large_var: Path) -> None:
    report = analyze(EXPERIMENT, large_var)
    assert failed(report) == set()
    assert report.decision == "ship"
    model_time = report.results.effect("model_time", "treatment").estimate
    assert model_time.low is not None and model_time.high is not None
    assert model_time.low < -0.4 < model_time.high
    assert sum(arm.users for arm in report.results.arms) == 50_000


def test_effects_equal_a_hand_made_delta_method_on_the_raw_lines(small_var: Path) -> None:
    def lines(kind: str) -> list[Record]:
        path = small_var / "log" / kind / "release-1.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]

    clicks = Counter(record["request_id"] for record in lines("outcomes"))
    logs = []
    for column in (lambda r: clicks[r["request_id"]] / 3, lambda r: r["predict_ms"]):
        arms = [
            np.array([column(r) for r in lines("predictions") if r["arm"] == arm.name])
            for arm in EXPERIMENT.arms
        ]
        scale = sum(x.var(ddof=1) / len(x) / x.mean() ** 2 for x in arms) ** 0.5
        logs.append((math.log(arms[1].mean() / arms[0].mean()), scale))
    results = analyze(EXPERIMENT, small_var).results
    for metric, (centre, scale) in zip(METRICS, logs, strict=True):
        found = results.effect(metric, "treatment").estimate
        assert math.log1p(found.value) == pytest.approx(centre, abs=1e-9)
        assert found.low is not None
        # 600 users: Welch's t differs from the normal quantile by less than 0.3 %.
        assert centre - math.log1p(found.low) == pytest.approx(1.96 * scale, rel=3e-3)


def test_5_percent_of_one_arms_users_missing_is_refused_as_srm(copy_of_large: Path) -> None:
    def drop(records: list[Record]) -> list[Record]:
        treated = [r for r in records if r["arm"] == "treatment"]
        gone = {r["request_id"] for r in treated[: len(treated) // 20]}
        return [r for r in records if r["request_id"] not in gone]

    edit(copy_of_large, drop)
    report = analyze(EXPERIMENT, copy_of_large)
    assert (report.decision, failed(report)) == ("refused", {"srm"})
    assert report.results.effects == []


def test_one_record_of_another_version_is_refused_as_served_arm(copy_of_small: Path) -> None:
    def swap(records: list[Record]) -> list[Record]:
        return [{**records[0], "version": "9.0"}, *records[1:]]

    edit(copy_of_small, swap)
    report = analyze(EXPERIMENT, copy_of_small)
    assert (report.decision, failed(report)) == ("refused", {"served_arm"})
    assert "r1-0-0" in report.failed[0].culprit


def test_one_wrong_arm_label_is_refused_as_assignment(copy_of_small: Path) -> None:
    other = {"control": ("treatment", "2.0"), "treatment": ("control", "1.0")}

    def mislabel(records: list[Record]) -> list[Record]:
        arm, version = other[records[0]["arm"]]
        changed = {"arm": arm, "version": version, "intended_version": version}
        return [{**records[0], **changed}, *records[1:]]

    edit(copy_of_small, mislabel)
    report = analyze(EXPERIMENT, copy_of_small)
    assert (report.decision, failed(report)) == ("refused", {"assignment"})


def test_another_salt_in_the_release_is_refused_as_design(copy_of_small: Path) -> None:
    other = msgspec.structs.replace(EXPERIMENT, salt="other")
    assert failed(analyze(other, copy_of_small)) == {"design"}


def test_missing_release_is_refused_as_design(copy_of_small: Path) -> None:
    shutil.rmtree(copy_of_small / "releases")
    assert "design" in failed(analyze(EXPERIMENT, copy_of_small))


def test_lost_outcomes_are_refused(copy_of_small: Path) -> None:
    shutil.rmtree(copy_of_small / "log/outcomes")
    report = analyze(EXPERIMENT, copy_of_small)
    assert (report.decision, failed(report)) == ("refused", {"outcomes"})


def declared(copy: Path, by_arm: dict[str, str | None], **more: Any) -> Report:
    """Analyze the log as if the arms' archives declared these types."""

    def declare(records: list[Record]) -> list[Record]:
        kinds = [({"response": by_arm[r["arm"]]} if by_arm[r["arm"]] else {}) for r in records]
        return [{**r, **kind, **more} for r, kind in zip(records, kinds, strict=True)]

    edit(copy, declare)
    return analyze(EXPERIMENT, copy)


def test_ranking_that_is_declared_is_analyzed_as_before(copy_of_small: Path) -> None:
    before = analyze(EXPERIMENT, copy_of_small)
    assert declared(copy_of_small, {"control": None, "treatment": "ranking"}, entries=5) == before


def test_arms_that_answer_with_different_types_are_refused(copy_of_small: Path) -> None:
    types: dict[str, str | None] = {"control": "ranking", "treatment": "regression"}
    report = declared(copy_of_small, types, entries=5)
    assert failed(report) >= {"records"}
    assert "version 2.0: it answers with a regression, version 1.0 with a ranking" in " ".join(
        report.reasons
    )


def test_clicks_that_name_no_row_are_refused_with_how_to_name_one(copy_of_small: Path) -> None:
    types: dict[str, str | None] = {"control": "regression", "treatment": "regression"}
    report = declared(copy_of_small, types, entries=1, prediction=2.5)
    assert failed(report) == {"outcomes"}
    assert "an entry of any regression; check that the `item_id` of" in " ".join(report.reasons)


def test_empty_log_is_refused_as_records(tmp_path: Path) -> None:
    report = analyze(EXPERIMENT, tmp_path)
    assert (report.decision, failed(report)) == ("refused", {"records"})


def test_requests_without_experiment_and_shadow_answers_are_outside(copy_of_small: Path) -> None:
    before = analyze(EXPERIMENT, copy_of_small)

    def add(records: list[Record]) -> list[Record]:
        outside = {"experiment": None, "arm": None, "request_id": "pinned", "version": "9.0"}
        shadow = {"role": "shadow", "version": "9.0", "intended_version": "9.0"}
        return [*records, {**records[0], **outside}, {**records[1], **shadow}]

    edit(copy_of_small, add)
    after = analyze(EXPERIMENT, copy_of_small)
    assert after.results.effects == before.results.effects
    assert after.results.outside_requests == before.results.outside_requests + 1


def test_repeated_attempts_and_outcomes_count_once(copy_of_small: Path) -> None:
    before = analyze(EXPERIMENT, copy_of_small)
    edit(copy_of_small, lambda records: [*records, *({**r, "attempt": 2} for r in records)])
    outcomes = next((copy_of_small / "log/outcomes").glob("*.jsonl"))
    outcomes.write_text(outcomes.read_text() * 2)
    assert analyze(EXPERIMENT, copy_of_small).results.effects == before.results.effects


def test_failed_requests_are_counted_and_show_nothing(copy_of_small: Path) -> None:
    edit(copy_of_small, lambda records: [{**records[0], "status": 500}, *records[1:]])
    arms = analyze(EXPERIMENT, copy_of_small).results.arms
    assert sum(arm.failed for arm in arms) == 1
    assert sum(arm.impressions for arm in arms) == 3 * 599


def test_clicks_below_the_first_three_do_not_count(copy_of_small: Path) -> None:
    def hide(records: list[Record]) -> list[Record]:
        return [{**r, "prediction": [97, 98, 99, *r["prediction"]]} for r in records]

    edit(copy_of_small, hide)
    assert failed(analyze(EXPERIMENT, copy_of_small)) == {"outcomes"}


def test_planted_worse_ranker_is_not_shipped(tmp_path: Path) -> None:
    planted = read_experiment(FOLDER / "feed_planted/experiment.yaml")
    bad = Truth(ctr=0.45, model_ms=1.0, latency_ms=4.0)
    report = analyze(planted, simulate(tmp_path, 600, FP32, bad, experiment=planted))
    assert report.decision == "do_not_ship"


def test_few_users_decide_nothing(tmp_path: Path) -> None:
    report = analyze(EXPERIMENT, simulate(tmp_path, 60, FP32, INT8))
    detectable = report.results.effect("ctr", "treatment").detectable
    assert report.decision == "not_shown"
    assert detectable is not None and detectable > EXPERIMENT.decision.ctr_margin


def test_only_the_newest_weights_are_analyzed(tmp_path: Path) -> None:
    first, second = reweighted(EXPERIMENT, 90, 10), reweighted(EXPERIMENT, 50, 50)
    for number, phase in enumerate((first, second), start=1):
        write_release(phase, tmp_path, number)
        world = World(users=600, requests_per_user=1, truths=[FP32, INT8], seed=number)
        write_logs(phase, world, tmp_path, release=number)
    report = analyze(second, tmp_path)
    assert failed(report) == set()
    assert (report.results.releases, report.results.earlier_requests) == ([2], 600)


def test_users_per_arm_are_those_that_the_split_assigns(small_var: Path) -> None:
    split = allocation_of(EXPERIMENT)
    expected = sum(arm_of(split, str(user)) == "treatment" for user in range(600))
    assert analyze(EXPERIMENT, small_var).results.arms[1].users == expected


def test_report_survives_a_round_trip_through_json(small_var: Path) -> None:
    report = analyze(EXPERIMENT, small_var)
    assert msgspec.convert(report.to_dict(), Report) == report
