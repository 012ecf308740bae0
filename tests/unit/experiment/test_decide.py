from pathlib import Path

import pytest

from marloft.contract.estimate import Estimate
from marloft.experiment.decide import decide
from marloft.experiment.design import read_experiment
from marloft.experiment.results import Effect, Metric

EXPERIMENT = read_experiment(Path(__file__).parents[3] / "workflows/feed_ab/experiment.yaml")
Interval = tuple[float | None, float | None]


def effect(metric: Metric, interval: Interval) -> Effect:
    low, high = interval
    value = sum(bound for bound in interval if bound is not None) / 2
    estimate = Estimate(value=value, low=low, high=high, p=0.5, n=100, method="test")
    return Effect(metric=metric, arm="treatment", estimate=estimate, detectable=0.04)


def decision(ctr: Interval, model_time: Interval, latency: Interval) -> str:
    found, reasons = decide(
        EXPERIMENT,
        ctr=effect("ctr", ctr),
        model_time=effect("model_time", model_time),
        latency=effect("latency", latency),
    )
    assert len(reasons) == 3
    return found


GOOD: tuple[Interval, Interval, Interval] = ((-0.05, 0.05), (-0.5, -0.4), (-0.1, 0.1))


def test_all_three_shown_is_ship() -> None:
    assert decision(*GOOD) == "ship"


@pytest.mark.parametrize(
    ("ctr", "expected"),
    [
        ((-0.30, -0.12), "do_not_ship"),  # wholly below the margin of 10 %
        ((-0.20, -0.05), "do_not_ship"),  # lower, and the margin is not excluded
        ((-0.08, -0.02), "ship"),  # lower, but shown to be within the margin
        ((-0.15, 0.05), "not_shown"),
        ((-0.10, 0.05), "not_shown"),  # touching the margin is not above it
        ((None, None), "not_shown"),
    ],
)
def test_ctr_interval_decides(ctr: Interval, expected: str) -> None:
    assert decision(ctr, GOOD[1], GOOD[2]) == expected


@pytest.mark.parametrize("model_time", [(-0.1, 0.1), (0.1, 0.2), (-0.1, 0.0)])
def test_model_time_not_shown_lower_is_not_shown(model_time: Interval) -> None:
    assert decision(GOOD[0], model_time, GOOD[2]) == "not_shown"


@pytest.mark.parametrize(
    ("latency", "expected"),
    [((0.30, 0.60), "do_not_ship"), ((0.10, 0.40), "not_shown"), ((-0.1, None), "not_shown")],
)
def test_latency_interval_decides(latency: Interval, expected: str) -> None:
    assert decision(GOOD[0], GOOD[1], latency) == expected


def test_reasons_name_margin_and_detectable_difference() -> None:
    _, reasons = decide(
        EXPERIMENT,
        ctr=effect("ctr", (-0.15, 0.05)),
        model_time=effect("model_time", GOOD[1]),
        latency=effect("latency", GOOD[2]),
    )
    assert "a loss of 10% or more is not excluded" in reasons[0]
    assert "difference of 4.0% with power 80%" in reasons[0]
