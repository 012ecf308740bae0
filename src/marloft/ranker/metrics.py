"""Ranking quality and calibration of scores against likes, exact and with NumPy alone."""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from marloft.errors import DataError

_EDGE = 1e-7


class Quality(Struct, frozen=True, kw_only=True):
    """Ranking quality, accuracy at 0.5 and calibration of one set of scores."""

    auc: float
    accuracy: float
    log_loss: float


def quality(likes: NDArray[np.integer], scores: NDArray[np.floating]) -> Quality:
    """Return AUC, accuracy and log loss of scores float[n] in (0, 1) for likes int[n]."""
    return Quality(
        auc=auc(likes, scores), accuracy=accuracy(likes, scores), log_loss=log_loss(likes, scores)
    )


def auc(likes: NDArray[np.integer], scores: NDArray[np.floating]) -> float:
    """Return the area under the ROC curve: P(score of a like > score of a non-like), ties half.

    The Mann-Whitney form with mid-ranks: `(R - p (p + 1) / 2) / (p q)` for the rank sum R of the
    p likes among q non-likes. Hanley, McNeil (1982), doi:10.1148/radiology.143.1.7063747.

    Args:
        likes: int[n], 1 for a like and 0 for none.
        scores: float[n], higher is better.

    Raises:
        DataError: there are no likes, or only likes.
    """
    positives = int(np.count_nonzero(likes == 1))
    negatives = len(likes) - positives
    if not positives or not negatives:
        raise DataError(
            f"AUC of {positives} likes and {negatives} others is undefined; both must be present."
        )
    rank_sum = float(_mid_ranks(scores)[likes == 1].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def accuracy(likes: NDArray[np.integer], scores: NDArray[np.floating]) -> float:
    """Return the share of int[n] likes that float[n] scores predict at the threshold 0.5."""
    return float(np.mean((scores >= 0.5) == (likes == 1)))


def log_loss(likes: NDArray[np.integer], scores: NDArray[np.floating]) -> float:
    """Return the mean negative log likelihood in nats of probabilities float[n] for likes int[n].

    Probabilities are clipped to [1e-7, 1 - 1e-7], so that one confident mistake is not infinite.
    """
    p = np.clip(scores.astype(np.float64), _EDGE, 1 - _EDGE)
    return float(-np.mean(np.where(likes == 1, np.log(p), np.log1p(-p))))


def rank_correlation(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Return Spearman's rank correlation of two float[n], ties by mid-ranks.

    The Pearson correlation of the ranks; 1 means the same order.
    Spearman (1904), doi:10.2307/1412159.
    """
    a, b = (_mid_ranks(values) - (len(values) + 1) / 2 for values in (one, other))
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def _mid_ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return ranks from 1; equal values share the mean of their ranks."""
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)
    mid: NDArray[np.float64] = (last - (sizes - 1) / 2)[group]
    return mid
