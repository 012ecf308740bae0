"""Latency quantiles with intervals that account for the correlation of one user's requests.

A quantile's interval lies between two order statistics, whose ranks come from the binomial
distribution (David, Nagaraja 2003, Order Statistics, section 7.1); the ranks are spread by the
square root of the design effect when requests cluster in users (Deng, Knoblich, Lu 2018, section
4.2). The ratio of two arms' quantiles gets its interval from theirs on the log scale by MOVER
(Zou, Donner 2008, Statistics in Medicine 27: 1693-1702).
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from marloft.contract.estimate import Estimate

Numbers = NDArray[np.float64]


def quantile_estimate(
    values: Numbers, users: NDArray[Any], quantile: float, alpha: float
) -> Estimate:
    """Return a quantile of `values` float64[n] (ms) with its 1 - `alpha` interval.

    `users` [n] says whose request each value is. A bound is None when so few values cannot give
    it. The point estimate interpolates linearly between order statistics.
    """
    ordered = np.sort(values)
    point = float(np.quantile(ordered, quantile))
    spread = math.sqrt(design_effect(values > point, users))
    n = len(ordered)
    centre = n * quantile
    binomial = stats.binom(n, quantile)
    first, last = binomial.ppf(alpha / 2) - 1, binomial.isf(alpha / 2)
    low = math.floor(first - (spread - 1) * (centre - first))
    high = math.ceil(last + (spread - 1) * (last - centre))
    return Estimate(
        value=point,
        low=float(ordered[low]) if low >= 0 else None,
        high=float(ordered[high]) if high < n else None,
        p=None,
        n=n,
        method=f"order statistics of {n} requests, design effect {spread**2:.2f}",
    )


def design_effect(flags: NDArray[np.bool_], users: NDArray[Any]) -> float:
    """Return how much larger the variance of the mean of `flags` is than for independent rows.

    The variance with users as clusters (linearized ratio) over that of single rows; at least 1.
    """
    share = float(flags.mean())
    rows = len(flags)
    independent = share * (1 - share) * rows * rows / max(rows - 1, 1)
    _, codes = np.unique(users, return_inverse=True)
    count = int(codes.max()) + 1
    if independent == 0 or count < 2:
        return 1.0
    residuals = np.bincount(codes, weights=flags - share, minlength=count)
    clustered = float(np.square(residuals).sum()) * count / (count - 1)
    return max(1.0, clustered / independent)


def ratio_estimate(control: Estimate, treatment: Estimate) -> Estimate:
    """Return treatment's quantile relative to control's, minus 1, with its interval.

    A bound is None when one of the quantiles lacks the bound it needs.
    """
    log_ratio = math.log(treatment.value / control.value)
    low = _distance((treatment.value, treatment.low), (control.high, control.value))
    high = _distance((treatment.high, treatment.value), (control.value, control.low))
    return Estimate(
        value=math.exp(log_ratio) - 1,
        low=None if low is None else math.exp(log_ratio - low) - 1,
        high=None if high is None else math.exp(log_ratio + high) - 1,
        p=None,
        n=control.n + treatment.n,
        method="ratio of quantiles, MOVER on the log scale; n counts requests",
    )


def _distance(
    first: tuple[float | None, float | None], second: tuple[float | None, float | None]
) -> float | None:
    """Return the root of the summed squares of two log ratios; None when a bound is missing."""
    total = 0.0
    for upper, lower in (first, second):
        if upper is None or lower is None or lower <= 0:
            return None
        total += math.log(upper / lower) ** 2
    return math.sqrt(total)
