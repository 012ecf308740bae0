"""How many users an experiment needs, and what a given number of users can show.

Normal approximation for two independent arms of equal size and a variance σ² per user: an
absolute difference d is found with n = 2 (z(1 - alpha/2) + z(power))² σ² / d² users per arm.
Chow, Shao, Wang, Lokhnygina (2017), Sample Size Calculations in Clinical Research, section 3.2.
The same n shows non-inferiority at margin d when the arms are truly equal, since that test asks
whether the 1 - alpha interval lies above -d.
"""

import math
from typing import Annotated

from msgspec import Meta, Struct
from scipy import stats

from marloft.errors import ConfigError
from marloft.experiment.effects import Moments


class Size(Struct, frozen=True, kw_only=True):
    """Users needed per arm to find a relative difference (or to show a margin) of `relative`."""

    relative: float
    users_per_arm: int
    mean: float
    variance: float


class Baseline(Struct, frozen=True, kw_only=True):
    """What is known before any log: the CTR, the impressions of a user, the design effect.

    `design_effect` is the factor by which the variance of a user's CTR exceeds that of
    independent impressions; 1 means independent, which users seldom are.
    """

    ctr: Annotated[float, Meta(gt=0, lt=1)]
    impressions_per_user: Annotated[float, Meta(gt=0)]
    design_effect: Annotated[float, Meta(ge=1)]


def baseline_moments(baseline: Baseline) -> Moments:
    """Return the CTR and its variance per user, p (1 - p) x design effect / impressions."""
    if not 0 < baseline.ctr < 1:
        raise ConfigError(f"baseline CTR {baseline.ctr} must lie between 0 and 1; for example 0.3.")
    if baseline.impressions_per_user <= 0 or baseline.design_effect < 1:
        raise ConfigError(
            f"{baseline.impressions_per_user} impressions per user with design effect "
            f"{baseline.design_effect}: the first must be above 0, the second at least 1."
        )
    spread = baseline.ctr * (1 - baseline.ctr) * baseline.design_effect
    return Moments(mean=baseline.ctr, variance=spread / baseline.impressions_per_user, n=0)


def size_for(metric: Moments, relative: float, alpha: float, power: float) -> Size:
    """Return the users per arm that find (or exclude) a relative difference of `relative`."""
    if relative <= 0:
        raise ConfigError(f"relative difference {relative} must be above 0; for example 0.05.")
    difference = relative * metric.mean
    users = 2 * (_quantiles(alpha, power) ** 2) * metric.variance / difference**2
    return Size(
        relative=relative,
        users_per_arm=math.ceil(users),
        mean=metric.mean,
        variance=metric.variance,
    )


def detectable(
    metric: Moments, n_control: float, n_treatment: float, alpha: float, power: float
) -> float:
    """Return the smallest relative difference that these many users show with `power`.

    `metric` holds control's mean and variance, which both arms are assumed to have.
    """
    scale = math.sqrt(metric.variance * (1 / n_control + 1 / n_treatment))
    return _quantiles(alpha, power) * scale / metric.mean


def _quantiles(alpha: float, power: float) -> float:
    return float(stats.norm.isf(alpha / 2) - stats.norm.isf(power))
