from typing import Any

import numpy as np
import pytest
from scipy import stats

from marloft.experiment.latency import design_effect, quantile_estimate, ratio_estimate
from tests.reference_cases import cases, near

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("case", cases("quantile_ci"), ids=lambda c: c["name"])
def test_quantile_of_independent_values_equals_the_reference(case: dict[str, Any]) -> None:
    values = np.array(case["inputs"]["values"])
    for quantile, expected in case["expected"].items():
        found = quantile_estimate(values, np.arange(len(values)), float(quantile), 0.05)
        assert found.value == near(case, expected["estimate"])
        assert [found.low, found.high] == near(case, expected["ci"])


def test_too_few_values_leave_a_bound_open() -> None:
    values = np.arange(1.0, 101.0)
    assert quantile_estimate(values, np.arange(100), 0.99, 0.05).high is None
    assert quantile_estimate(np.arange(1.0, 2001.0), np.arange(2000), 0.99, 0.05).high is not None


def test_design_effect_of_identical_requests_is_the_cluster_size() -> None:
    flags = np.random.default_rng(0).random(4_000) < 0.2
    users = np.arange(4_000)
    assert design_effect(flags, users) == pytest.approx(1.0, abs=1e-3)
    repeated = design_effect(np.repeat(flags, 5), np.repeat(users, 5))
    assert repeated == pytest.approx(5.0, rel=1e-3)


def test_interval_of_clustered_requests_covers_the_true_quantile() -> None:
    rng = np.random.default_rng(2)
    truth = float(np.exp(np.sqrt(0.5) * stats.norm.isf(0.1)))
    users = np.repeat(np.arange(300), 10)
    clustered = independent = 0
    for _ in range(200):
        logs = 0.6 * np.repeat(rng.standard_normal(300), 10)
        values = np.exp(logs + np.sqrt(0.14) * rng.standard_normal(3_000))
        for owners in (users, np.arange(3_000)):
            found = quantile_estimate(values, owners, 0.9, 0.05)
            assert found.low is not None and found.high is not None
            covers = found.low <= truth <= found.high
            clustered += covers and owners is users
            independent += covers and owners is not users
    assert clustered >= stats.binom(200, 0.95).ppf(0.001)
    assert independent < stats.binom(200, 0.95).ppf(0.001)


def test_ratio_covers_the_true_ratio_of_quantiles() -> None:
    rng = np.random.default_rng(4)
    covered = 0
    for _ in range(200):
        arms = [
            quantile_estimate(
                scale * np.exp(rng.standard_normal(2_000)), np.arange(2_000), 0.99, 0.05
            )
            for scale in (4.0, 5.0)
        ]
        found = ratio_estimate(arms[0], arms[1])
        assert found.low is not None and found.high is not None
        covered += found.low <= 0.25 <= found.high
    assert covered >= stats.binom(200, 0.95).ppf(0.001)


def test_ratio_without_a_bound_stays_open() -> None:
    few = quantile_estimate(np.arange(1.0, 101.0), np.arange(100), 0.99, 0.05)
    found = ratio_estimate(few, few)
    assert (found.value, found.low, found.high) == (0.0, None, None)
