"""The e-values, against exact enumeration, Ville's bound and published closed forms."""

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom, hypergeom

from marloft.deploy.guardrails.evidence import (
    MOST,
    MOST_PER_LOOK,
    NO_EVIDENCE,
    ODDS,
    LogWealth,
    against_control,
    against_limit,
    e_value,
    normal_mixture,
)
from tests.reference_cases import cases, near


def look(new: int, new_events: int, control: int, control_events: int) -> LogWealth:
    return against_control(
        NO_EVIDENCE,
        new=new,
        new_events=new_events,
        control=control,
        control_events=control_events,
    )


def test_no_evidence_is_worth_one() -> None:
    assert e_value(NO_EVIDENCE) == 1.0
    assert look(10, 0, 40, 0) == NO_EVIDENCE
    assert against_limit(NO_EVIDENCE, requests=0, events=0, limit=0.01) == NO_EVIDENCE


@pytest.mark.parametrize(("new", "control", "events"), [(10, 40, 3), (1, 99, 2), (25, 25, 7)])
def test_look_is_the_binomial_likelihood_ratio_cut_off(new: int, control: int, events: int) -> None:
    share = new / (new + control)
    for mine in range(events + 1):
        wealth = look(new, mine, control, events - mine)
        for log, odds in zip(wealth, ODDS, strict=True):
            moved = odds * new / (odds * new + control)
            ratio = binom.pmf(mine, events, moved) / binom.pmf(mine, events, share)
            assert math.exp(log) == pytest.approx(min(ratio, MOST_PER_LOOK))


@pytest.mark.parametrize(("new", "control", "events"), [(10, 40, 3), (1, 99, 2), (25, 25, 7)])
def test_expectation_is_at_most_one_when_rates_are_equal(
    new: int, control: int, events: int
) -> None:
    values = [e_value(look(new, k, control, events - k)) for k in range(min(new, events) + 1)]
    drawn = [hypergeom.pmf(k, new + control, events, new) for k in range(len(values))]
    assert np.dot(drawn, values) <= 1 + 1e-12
    worse = [binom.pmf(k, events, 0.9) for k in range(events + 1)]
    values = [e_value(look(new, k, control, events - k)) for k in range(events + 1)]
    assert np.dot(worse, values) > 1.2, "a worse version has to be expected to lose"


def test_outage_of_everything_says_nothing_against_the_new_version() -> None:
    assert e_value(look(10, 10, 40, 40)) <= 1


def test_five_single_errors_of_a_canary_at_a_fifth_suffice() -> None:
    wealth = NO_EVIDENCE
    for _ in range(5):
        wealth = against_control(wealth, new=10, new_events=1, control=40, control_events=0)
    assert e_value(wealth) > 500


def test_one_stall_of_many_requests_does_not_suffice() -> None:
    assert e_value(look(10, 10, 40, 0)) <= MOST_PER_LOOK


def test_limit_is_the_bernoulli_likelihood_ratio_cut_off() -> None:
    for events in range(4):
        wealth = against_limit(NO_EVIDENCE, requests=50, events=events, limit=0.01)
        for log, odds in zip(wealth, ODDS, strict=True):
            moved = odds * 0.01 / (0.99 + odds * 0.01)
            ratio = binom.pmf(events, 50, moved) / binom.pmf(events, 50, 0.01)
            assert math.exp(log) == pytest.approx(min(ratio, MOST_PER_LOOK))


def test_limit_is_crossed_falsely_as_rarely_as_ville_says() -> None:
    draw = np.random.default_rng(3)
    crossed = {0.02: 0, 0.2: 0}
    for ratio in crossed:
        for _ in range(300):
            wealth, most = NO_EVIDENCE, 0.0
            for events in draw.binomial(20, ratio, 200).tolist():
                wealth = against_limit(wealth, requests=20, events=events, limit=0.02)
                most = max(most, e_value(wealth))
            crossed[ratio] += most >= 20
    assert crossed[0.02] <= 0.05 * 300
    assert crossed[0.2] == 300


@pytest.mark.parametrize("case", cases("msprt_normal"), ids=lambda case: case["name"])
def test_both_sides_of_the_mixture_average_to_the_published_msprt(case: dict[str, Any]) -> None:
    inputs = case["inputs"]
    variance = inputs["variance_per_pair"] / inputs["n_pairs"]
    sides = [normal_mixture(s * inputs["diff"], variance, inputs["tau"]) for s in (1, -1)]
    assert sum(sides) / 2 == near(case, case["expected"]["lambda_n"])


@pytest.mark.parametrize(
    "case",
    [
        case
        for case in cases("sequential_asymptotic_cs")
        if case["inputs"]["difference_type"] == "absolute" and "control" in case["inputs"]
    ],
    ids=lambda case: case["name"],
)
def test_mixture_reaches_one_over_alpha_at_the_end_of_gbstats_sequence(
    case: dict[str, Any],
) -> None:
    inputs, expected = case["inputs"], case["expected"]
    arms = [inputs["control"], inputs["treatment"]]
    total = sum(arm["n"] for arm in arms)
    rates = [arm["successes"] / arm["n"] for arm in arms]
    variance = sum(p * (1 - p) / arm["n"] for p, arm in zip(rates, arms, strict=True))
    # gbstats' rho is relative to the standard deviation of one unit.
    scale = expected["rho"] * math.sqrt(variance * total)
    half = (expected["cs"][1] - expected["cs"][0]) / 2
    both = sum(normal_mixture(side * half, variance, scale) for side in (1, -1)) / 2
    assert both == pytest.approx(1 / inputs["alpha"])


def test_extreme_differences_stay_finite() -> None:
    assert normal_mixture(1.0, 1e-9, 0.1) == pytest.approx(MOST)
    assert normal_mixture(-1.0, 1e-9, 0.1) == 0.0
