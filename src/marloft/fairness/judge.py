"""From resampled rates to an estimate with its interval, and from there to a verdict."""

from collections.abc import Callable

import numpy as np
from msgspec import Struct

from marloft.contract.audit import Metric, Verdict
from marloft.contract.estimate import Estimate
from marloft.errors import DataError
from marloft.fairness.bootstrap import (
    Draws,
    Floats,
    bias_free_bound,
    pair_differences,
    pair_log_ratios,
    percentile_interval,
)
from marloft.fairness.design import Audit
from marloft.fairness.predictions import Grouping, ScoredRows

Contrast = Callable[[Floats], Floats]
_CONTRASTS: dict[Metric, tuple[Contrast, tuple[str, ...]]] = {
    "demographic_parity_difference": (pair_differences, ("selection_rate",)),
    "demographic_parity_ratio": (pair_log_ratios, ("selection_rate",)),
    "equalized_odds_difference": (pair_differences, ("tpr", "fpr")),
    "equalized_odds_ratio": (pair_log_ratios, ("tpr", "fpr")),
    "auc_difference": (pair_differences, ("auc",)),
}


class Gap(Struct, frozen=True, kw_only=True):
    """A gap between groups with its percentile interval, and its bound without bias."""

    estimate: Estimate
    bias_free_bound: float | None


def check_groups(rows: ScoredRows, name: str, grouping: Grouping) -> None:
    """Raise DataError unless there are two groups and each has rows of both labels."""
    if len(grouping.names) < 2:
        raise DataError(
            f"feature {name!r} has the one group {grouping.names[0]!r}; a gap needs two."
        )
    for code, group in enumerate(grouping.names):
        labels = rows.labels[grouping.codes == code]
        if labels.min() == labels.max():
            raise DataError(
                f"group {group!r} of {name!r} has only label {labels[0]} in its {len(labels)} "
                "judged rows, so its error rates are undefined; merge it with another group or "
                "judge more rows."
            )


def units_per_group(rows: ScoredRows, grouping: Grouping) -> list[int]:
    """Return how many units have rows in each group."""
    return [
        len(np.unique(rows.units[grouping.codes == code])) for code in range(len(grouping.names))
    ]


def gap_estimate(metric: Metric, draws: Draws, *, confidence: float, units: int) -> Gap:
    """Return a fairness metric's value, interval and bound, all from the draws."""
    contrast, rates = _CONTRASTS[metric]
    point = np.concatenate([contrast(draws.point[rate]) for rate in rates])
    resampled = np.concatenate([contrast(draws.resampled[rate]) for rate in rates], axis=1)
    bound = bias_free_bound(point, resampled, confidence)
    value, spread = np.max(np.abs(point)), np.max(np.abs(resampled), axis=1)
    if contrast is pair_log_ratios:
        value, spread = np.exp(-value), np.exp(-spread)
        bound = None if bound is None else float(np.exp(-bound))
    estimate = rate_estimate(float(value), spread, confidence=confidence, units=units)
    return Gap(estimate=estimate, bias_free_bound=bound)


def judge(metric: Metric, gap: Gap, threshold: float, *, enough: bool) -> Verdict:
    """Return the verdict by the rule that `AuditResult` states.

    `enough` says whether every group has the units that a bootstrap needs.
    """
    low, high, bound = gap.estimate.low, gap.estimate.high, gap.bias_free_bound
    if not enough or low is None or high is None or bound is None:
        return "cannot_tell"
    if metric.endswith("_ratio"):
        good, bad = low > threshold, max(high, bound) < threshold
    else:
        good, bad = high < threshold, min(low, bound) > threshold
    if good:
        return "pass"
    return "fail" if bad else "cannot_tell"


def threshold_of(metric: Metric, audit: Audit) -> float:
    """Return the threshold that the audit sets for a metric."""
    return audit.ratio_threshold if metric.endswith("_ratio") else audit.threshold


def rate_estimate(value: float, draws: Floats, *, confidence: float, units: int) -> Estimate:
    """Return one rate with its percentile interval over draws float64[r]."""
    low, high = percentile_interval(draws, confidence)
    how = f"percentiles of {len(draws):,} resamples of units"
    return Estimate(value=value, low=low, high=high, p=None, n=units, method=how)
