"""Intervals for rates and gaps between groups, by resampling whole units (users).

Rows of one user are not independent: resampling rows would make intervals too narrow. Units are
drawn with replacement (Field, Welsh 2007, doi:10.1111/j.1467-9868.2007.00593.x).

The largest gap between several groups is never below 0 and so biased upward: resampled values of
it lie above 0 even when all groups are alike, and its percentile interval almost never contains 0.
The interval's upper end is on the safe side for showing that a gap is small. To show that one is
large the *bias-free bound* is used instead: it comes from the signed gaps of all pairs of groups,
which have no such bias, and is the largest of their simultaneous lower bounds, so that it accounts
for the search over many pairs (max-t: Romano, Wolf 2005, doi:10.1198/016214504000000539).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from marloft.fairness.predictions import Grouping, ScoredRows

Floats = NDArray[np.float64]
# Resampled rows per block: more than a processor cache holds makes the AUC several times slower.
_CELLS = 200_000
COUNTED = ("rows", "selected", "positives", "selected_positives", "correct")


@dataclass(frozen=True, kw_only=True)
class Draws:
    """Each rate's value per group on the data, float64[g], and resampled, float64[r, g].

    A rate that a resample cannot have (a group without such rows) is NaN there.
    """

    point: dict[str, Floats]
    resampled: dict[str, Floats]

    def __or__(self, other: "Draws") -> "Draws":
        """Return the rates of both; they have to be of the same resamples."""
        return Draws(point=self.point | other.point, resampled=self.resampled | other.resampled)


def draw_rates(
    rows: ScoredRows, selected: Floats, grouping: Grouping, *, repeats: int, seed: int
) -> Draws:
    """Compute the decision's rates per group on the data and on resamples of the units.

    Args:
        rows: n rows of u units.
        selected: float64[n], the probability that the decision selects the row: 0 or 1 unless the
            decision is randomized.
        grouping: the groups of the n rows.
        repeats: number of resamples.
        seed: equal seeds give equal resamples, so that two decisions can be compared in pairs.
    """
    counts = _unit_counts(rows, selected, grouping)
    weights = _unit_weights(rows, repeats, seed)
    return _draws([_rates(w, counts, len(grouping.names)) for w in weights])


def draw_auc(rows: ScoredRows, grouping: Grouping, *, repeats: int, seed: int) -> Draws:
    """Compute `auc` within each group on the data and on the resamples of `draw_rates`."""
    ranked = [_Ranked.of(rows, grouping.codes == code) for code in range(len(grouping.names))]
    weights = _unit_weights(rows, repeats, seed)
    return _draws([{"auc": np.stack([r.auc(w) for r in ranked], axis=-1)} for w in weights])


def percentile_interval(
    draws: Floats, confidence: float
) -> tuple[float, float] | tuple[None, None]:
    """Return the percentile interval of draws float64[r]; None where too many are undefined.

    Efron, Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.
    """
    tail = (1 - confidence) / 2
    defined = draws[np.isfinite(draws)]
    if len(defined) < (1 - tail) * len(draws):
        return None, None
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


def bias_free_bound(point: Floats, draws: Floats, confidence: float) -> float | None:
    """Return what the largest absolute contrast exceeds, free of the bias of a largest value.

    Args:
        point: float64[c], signed contrasts on the data.
        draws: float64[r, c], the same on resamples.
        confidence: level of the simultaneous two-sided intervals of the contrasts.

    Returns:
        0 or more; None where too many resamples are undefined.
    """
    defined = draws[np.isfinite(draws).all(axis=1)]
    if len(defined) < (1 + confidence) / 2 * len(draws) or not np.isfinite(point).all():
        return None
    error = defined.std(axis=0, ddof=1)
    scale = np.where(error > 0, error, 1.0)
    reach = np.quantile(np.max(np.abs(defined - point) / scale, axis=1), confidence)
    return max(0.0, float(np.max(np.abs(point) - reach * error)))


def pair_differences(rates: Floats) -> Floats:
    """Return rate i - rate j for all pairs: float64[…, g] → float64[…, g (g - 1) / 2]."""
    pairs = list(combinations(range(rates.shape[-1]), 2))
    first, second = [i for i, _ in pairs], [j for _, j in pairs]
    gaps: Floats = rates[..., first] - rates[..., second]
    return gaps


def pair_log_ratios(rates: Floats) -> Floats:
    """Return log(rate i / rate j) for every pair; NaN or infinite where a rate is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return pair_differences(np.log(rates))


def _unit_counts(rows: ScoredRows, selected: Floats, grouping: Grouping) -> Floats:
    """Return float64[u, g * 5]: what `COUNTED` names, per unit and group."""
    groups = len(grouping.names)
    cell = rows.units * groups + grouping.codes
    labels = rows.labels.astype(np.float64)
    correct = labels * selected + (1 - labels) * (1 - selected)
    columns = [np.ones(len(labels)), selected, labels, labels * selected, correct]
    size = rows.unit_count * groups
    sums = [np.bincount(cell, c, minlength=size).astype(np.float64) for c in columns]
    return np.stack(sums, axis=-1).reshape(rows.unit_count, groups * len(COUNTED))


def _unit_weights(rows: ScoredRows, repeats: int, seed: int) -> Iterator[Floats]:
    """Yield float64[b, u] in blocks: first each unit once, then how often it is drawn."""
    units = rows.unit_count
    yield np.ones((1, units))
    generator = np.random.default_rng(seed)
    block = max(1, _CELLS // max(units, len(rows.labels)))
    share = np.full(units, 1 / units)
    for start in range(0, repeats, block):
        drawn = generator.multinomial(units, share, size=min(block, repeats - start))
        yield np.asarray(drawn, dtype=np.float64)


def _draws(blocks: list[dict[str, Floats]]) -> Draws:
    """Separate the first block, the data themselves, from the resamples."""
    first, *others = blocks
    return Draws(
        point={name: values[0] for name, values in first.items()},
        resampled={name: np.concatenate([block[name] for block in others]) for name in first},
    )


def _rates(weights: Floats, counts: Floats, groups: int) -> dict[str, Floats]:
    total = (weights @ counts).reshape(len(weights), groups, len(COUNTED))
    rows, selected, positives, true_positives, correct = np.moveaxis(total, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "selection_rate": selected / rows,
            "tpr": true_positives / positives,
            "fpr": (selected - true_positives) / (rows - positives),
            "accuracy": correct / rows,
            "label_rate": positives / rows,
        }


@dataclass(frozen=True, kw_only=True)
class _Ranked:
    """The rows of one group by ascending score; `starts` is where each distinct score begins."""

    units: NDArray[np.int64]
    labels: Floats
    starts: NDArray[np.intp]

    @classmethod
    def of(cls, rows: ScoredRows, chosen: NDArray[np.bool_]) -> "_Ranked":
        order = np.argsort(rows.scores[chosen], kind="stable")
        _, starts = np.unique(rows.scores[chosen][order], return_index=True)
        labels = rows.labels[chosen][order].astype(np.float64)
        return cls(units=rows.units[chosen][order], labels=labels, starts=starts)

    def auc(self, weights: Floats) -> Floats:
        """Return the weighted AUC, float64[b], ties half: Hanley, McNeil (1982)."""
        drawn = weights[:, self.units]
        positive = np.add.reduceat(drawn * self.labels, self.starts, axis=1)
        negative = np.add.reduceat(drawn * (1 - self.labels), self.starts, axis=1)
        below = np.cumsum(negative, axis=1) - negative / 2
        pairs = positive.sum(axis=1) * negative.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray((positive * below).sum(axis=1) / pairs)
