from typing import Any

import duckdb
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats
from tea_tasting.aggr import Aggregates

from marloft.experiment.effects import (
    CTR,
    Moments,
    RatioMetric,
    moments,
    noninferiority_p,
    relative_effect,
    user_aggregates,
)
from tests.reference_cases import cases, near, table

pytestmark = pytest.mark.slow


def from_reference(name: str, columns: tuple[str, ...]) -> dict[str, Aggregates]:
    """Load a reference table into DuckDB as users of two arms."""
    connection = duckdb.connect()
    typed = ", ".join(f"{column} DOUBLE" for column in columns)
    connection.execute(f"CREATE TABLE users (arm VARCHAR, {typed})")
    for arm, rows in table(name).items():
        values = zip(*(rows[column] for column in columns), strict=True)
        marks = ", ".join("?" * (1 + len(columns)))
        connection.executemany(
            f"INSERT INTO users VALUES ({marks})", [[arm, *row] for row in values]
        )
    return user_aggregates(connection, "users", columns)


def aggregates(clicks: NDArray[Any], shown: NDArray[Any]) -> Aggregates:
    """Summarize users (last axis) by NumPy, not by the product's SQL."""
    covariance = np.cov(clicks, shown)
    return Aggregates(
        count_=len(clicks),
        mean_={"clicks": float(clicks.mean()), "impressions": float(shown.mean())},
        var_={"clicks": float(covariance[0, 0]), "impressions": float(covariance[1, 1])},
        cov_={("clicks", "impressions"): float(covariance[0, 1])},
    )


def audience(rng: np.random.Generator, users: int, ctr: float, shown: int = 12) -> Aggregates:
    """Draw users whose click probabilities differ and whose impressions vary."""
    impressions = rng.integers(1, 2 * shown, users)
    clicks = rng.binomial(impressions, rng.beta(4 * ctr, 4 * (1 - ctr), users))
    return aggregates(clicks, impressions)


@pytest.mark.parametrize("case", cases("ratio_delta") + cases("mean"), ids=lambda c: c["name"])
def test_relative_effect_equals_the_reference(case: dict[str, Any]) -> None:
    inputs, expected = case["inputs"], case["expected"]
    numerator, denominator = inputs.get("numerator", inputs.get("value")), inputs.get("denominator")
    columns = tuple(column for column in (numerator, denominator) if column)
    users = from_reference(inputs["table"], columns)
    metric = RatioMetric(numerator=numerator, denominator=denominator)
    estimate = relative_effect(users["control"], users["treatment"], metric, 0.05)
    assert moments(users["control"], metric).mean == near(case, expected["control"])
    assert estimate.value == near(case, expected["rel_lift"])
    assert [estimate.low, estimate.high] == near(case, expected["rel_lift_ci_log_delta"])
    assert estimate.p == near(case, expected["p_value"])


@pytest.mark.parametrize("case", cases("cluster_user_level"), ids=lambda c: c["name"])
def test_variance_equals_cluster_robust_regression(case: dict[str, Any]) -> None:
    users = from_reference(case["inputs"]["table"], ("clicks", "impressions"))
    found = {arm: moments(users[arm], CTR) for arm in users}
    # The reference's CR0 variance lacks the n / (n - 1) of the sample variance.
    variance = sum(m.variance * (m.n - 1) / m.n / m.n for m in found.values())
    assert variance**0.5 == near(case, case["expected"]["se_cluster_cr0"])


@pytest.mark.parametrize("margin", [0.05, 0.1, 0.3])
def test_noninferiority_p_is_where_the_interval_touches_the_margin(margin: float) -> None:
    users = from_reference("pub-user-table", ("clicks", "impressions"))
    control, treatment = (moments(users[arm], CTR) for arm in ("control", "treatment"))
    p = noninferiority_p(control, treatment, margin)
    touching = relative_effect(users["control"], users["treatment"], CTR, 2 * p)
    assert touching.low == pytest.approx(-margin, abs=1e-9)


def test_noninferiority_p_equals_a_welch_test_on_the_log_scale() -> None:
    control, treatment = (
        Moments(mean=0.5, variance=0.2, n=900),
        Moments(mean=0.49, variance=0.25, n=500),
    )
    deviations = [m.variance**0.5 / m.mean for m in (control, treatment)]
    expected = stats.ttest_ind_from_stats(
        np.log(0.49),
        deviations[1],
        500,
        np.log(0.5 * 0.95),
        deviations[0],
        900,
        equal_var=False,
        alternative="greater",
    )
    assert noninferiority_p(control, treatment, 0.05) == pytest.approx(expected.pvalue, rel=1e-9)


def test_interval_width_follows_users_not_impressions() -> None:
    rng = np.random.default_rng(3)
    shown = rng.integers(1, 20, 2_000)
    clicks = rng.binomial(shown, rng.beta(2, 3, 2_000))

    def width(clicks: NDArray[Any], shown: NDArray[Any]) -> float:
        half = len(clicks) // 2
        arms = [aggregates(clicks[part], shown[part]) for part in (slice(half), slice(half, None))]
        estimate = relative_effect(arms[0], arms[1], CTR, 0.05)
        assert estimate.low is not None and estimate.high is not None
        return float(np.log1p(estimate.high) - np.log1p(estimate.low))

    plain = width(clicks, shown)
    assert width(10 * clicks, 10 * shown) == pytest.approx(plain, rel=1e-9)
    four_times = width(
        np.tile(clicks.reshape(2, -1), 4).ravel(), np.tile(shown.reshape(2, -1), 4).ravel()
    )
    assert four_times == pytest.approx(plain / 2, rel=0.01)


def test_false_positive_rate_of_a_vs_a_is_alpha_and_impression_tests_exceed_it() -> None:
    rng = np.random.default_rng(11)
    runs = 400
    rejected = naive = 0
    for _ in range(runs):
        arms = [audience(rng, 400, 0.4) for _ in range(2)]
        p = relative_effect(arms[0], arms[1], CTR, 0.05).p
        rejected += p is not None and p < 0.05
        naive += _impression_level_p(arms) < 0.05
    bound = stats.binom(runs, 0.05)
    assert bound.ppf(0.001) <= rejected <= bound.isf(0.001)
    assert naive > bound.isf(0.001)


def test_interval_covers_the_true_effect() -> None:
    rng = np.random.default_rng(5)
    runs = 300
    covered = 0
    for _ in range(runs):
        estimate = relative_effect(audience(rng, 400, 0.4), audience(rng, 400, 0.36), CTR, 0.05)
        assert estimate.low is not None and estimate.high is not None
        covered += estimate.low <= -0.1 <= estimate.high
    assert covered >= stats.binom(runs, 0.95).ppf(0.001)


def _impression_level_p(arms: list[Aggregates]) -> float:
    """Return the pooled two-proportion z test that takes impressions as independent."""
    clicks = [arm.mean("clicks") * arm.count() for arm in arms]
    shown = [arm.mean("impressions") * arm.count() for arm in arms]
    pooled = sum(clicks) / sum(shown)
    scale = (pooled * (1 - pooled) * sum(1 / n for n in shown)) ** 0.5
    z = (clicks[1] / shown[1] - clicks[0] / shown[0]) / scale
    return float(2 * stats.norm.sf(abs(z)))
