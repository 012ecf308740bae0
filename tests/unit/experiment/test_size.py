from typing import Any

import numpy as np
import pytest

from marloft.errors import ConfigError
from marloft.experiment.effects import Moments
from marloft.experiment.size import Baseline, baseline_moments, detectable, size_for
from tests.reference_cases import cases, near, table


def control_ctr() -> Moments:
    """Return CTR's moments of the reference control users, by the delta method in NumPy."""
    rows = table("pub-user-table")["control"]
    clicks, shown = np.array(rows["clicks"]), np.array(rows["impressions"])
    ratio = clicks.mean() / shown.mean()
    variance = np.var(clicks - ratio * shown, ddof=1) / shown.mean() ** 2
    return Moments(mean=float(ratio), variance=float(variance), n=len(clicks))


@pytest.mark.parametrize("case", cases("power_ratio"), ids=lambda c: c["name"])
def test_size_and_detectable_difference_of_a_ratio_equal_the_reference(
    case: dict[str, Any],
) -> None:
    inputs, expected = case["inputs"], case["expected"]
    size = size_for(control_ctr(), inputs["rel_effect"], inputs["alpha"], inputs["power"])
    half = inputs["n_obs_total"] // 2
    found = detectable(control_ctr(), half, half, inputs["alpha"], inputs["power"])
    assert 2 * size.users_per_arm == near(case, expected["n_obs_total_for_rel_effect"])
    assert found == near(case, expected["mde_rel_at_n_obs_total"])


@pytest.mark.parametrize("case", cases("power_mean"), ids=lambda c: c["name"])
def test_size_of_a_mean_equals_the_normal_reference(case: dict[str, Any]) -> None:
    inputs = case["inputs"]
    metric = Moments(mean=1.0, variance=inputs["std"] ** 2, n=0)
    size = size_for(metric, inputs["diff"], inputs["alpha"], inputs["power"])
    assert size.users_per_arm - 1 < case["expected"]["n_control_z"] <= size.users_per_arm


def test_size_from_a_baseline_grows_with_the_design_effect() -> None:
    def users(design_effect: float) -> int:
        given = Baseline(ctr=0.5, impressions_per_user=4, design_effect=design_effect)
        return size_for(baseline_moments(given), 0.1, 0.05, 0.8).users_per_arm

    assert users(3) == pytest.approx(3 * users(1), abs=3)


@pytest.mark.parametrize("baseline", [(1.2, 3.0, 1.0), (0.5, 0.0, 1.0), (0.5, 3.0, 0.5)])
def test_impossible_baseline_is_refused(baseline: tuple[float, float, float]) -> None:
    given = Baseline(ctr=baseline[0], impressions_per_user=baseline[1], design_effect=baseline[2])
    with pytest.raises(ConfigError, match="must"):
        baseline_moments(given)


def test_size_for_no_difference_is_refused() -> None:
    with pytest.raises(ConfigError, match="must be above 0"):
        size_for(control_ctr(), 0.0, 0.05, 0.8)
