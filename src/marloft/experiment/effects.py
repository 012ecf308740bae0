"""Relative effects on ratio metrics, with the user as the unit of analysis.

A ratio metric is a sum over users divided by another (clicks / impressions). Its variance comes
from the users' sums by the delta method, since one user's impressions are not independent:
Deng, Knoblich, Lu (2018), Applying the Delta Method in Metric Analytics, KDD.
https://alexdeng.github.io/public/files/kdd2018-dm.pdf
The intervals are those of tea-tasting: Welch's t on the log of the ratio of the arms' means.
"""

import math
import warnings

import duckdb
import ibis
import tea_tasting as tt
from msgspec import Struct
from scipy import stats
from tea_tasting.aggr import Aggregates, read_aggregates

from marloft.contract.estimate import Estimate

USER_COLUMNS = ("clicks", "impressions", "model_ms", "answers")


class Moments(Struct, frozen=True, kw_only=True):
    """Mean of a metric over `n` users and the variance that one user contributes to it."""

    mean: float
    variance: float
    n: int


class RatioMetric(Struct, frozen=True, kw_only=True):
    """A metric as two columns of the users' table; no denominator means the mean per user."""

    numerator: str
    denominator: str | None = None


CTR = RatioMetric(numerator="clicks", denominator="impressions")
MODEL_TIME = RatioMetric(numerator="model_ms", denominator="answers")


def user_aggregates(
    connection: duckdb.DuckDBPyConnection, table: str, columns: tuple[str, ...] = USER_COLUMNS
) -> dict[str, Aggregates]:
    """Return count, means, variances and covariances of `columns` per arm, computed in DuckDB.

    `table` has one row per user, with the columns `arm` and `columns`.
    """
    pairs = [(left, right) for left in columns for right in columns if left < right]
    with warnings.catch_warnings():
        # ibis 12 still calls a method that duckdb 2 renamed.
        warnings.filterwarnings("ignore", r"fetch_arrow_table\(\) is deprecated")
        found: dict[str, Aggregates] = read_aggregates(
            ibis.duckdb.from_connection(connection).table(table),
            "arm",
            has_count=True,
            mean_cols=columns,
            var_cols=columns,
            cov_cols=pairs,
        )
    return found


def moments(users: Aggregates, metric: RatioMetric) -> Moments:
    """Return the metric's mean and its variance per user by the delta method."""
    safe = users.with_zero_div()
    return Moments(
        mean=float(safe.mean(metric.numerator) / safe.mean(metric.denominator)),
        variance=float(safe.ratio_var(metric.numerator, metric.denominator)),
        n=int(users.count()),
    )


def relative_effect(
    control: Aggregates, treatment: Aggregates, metric: RatioMetric, alpha: float
) -> Estimate:
    """Return treatment's metric relative to control's, minus 1, with its 1 - `alpha` interval."""
    test = tt.RatioOfMeans(
        metric.numerator, metric.denominator, confidence_level=1 - alpha, use_t=True
    )
    result = test.analyze_aggregates(control, treatment)
    return Estimate(
        value=float(result.rel_effect_size),
        low=_finite(result.rel_effect_size_ci_lower),
        high=_finite(result.rel_effect_size_ci_upper),
        p=_finite(result.pvalue),
        n=control.count() + treatment.count(),
        method="ratio of means per user, delta method, Welch t on the log ratio",
    )


def noninferiority_p(control: Moments, treatment: Moments, margin: float) -> float:
    """Return the one-sided p-value of H0: treatment's mean ≤ (1 - `margin`) x control's.

    Welch's t on the log of the ratio, the same scale as `relative_effect`: p < alpha / 2 exactly
    when the two-sided 1 - alpha interval lies above -margin.
    """
    parts = [m.variance / m.mean**2 / m.n for m in (control, treatment)]
    scale = math.sqrt(sum(parts))
    freedom = sum(parts) ** 2 / (
        parts[0] ** 2 / (control.n - 1) + parts[1] ** 2 / (treatment.n - 1)
    )
    distance = math.log(treatment.mean / control.mean) - math.log(1 - margin)
    return float(stats.t.sf(distance / scale, freedom))


def _finite(number: float) -> float | None:
    return float(number) if math.isfinite(number) else None
