"""The values that a handler's `encode` returns, one class per type of response.

They hold arrays with one entry per row of the request, or one entry where the archive says
`per: request`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray

from marloft.contract.response import Label

Extra = dict[str, Any]
DECIMALS = 6


class Prediction(Struct, frozen=True, kw_only=True):
    """The answer of an archive that declares no `response`.

    `prediction` is any JSON value without NaN or infinity; `scores` and `confidence` are finite.
    `extra` goes to the prediction log only, for example counts of unknown ids.
    """

    prediction: Any
    confidence: float
    scores: list[float] | None = None
    extra: Extra | None = None


class Ranking(Struct, frozen=True):
    """Candidates and their scores; the answer lists them by descending score.

    `ids` are integers or strings, `scores` float[n] in the same order; equal scores keep it.
    """

    ids: Sequence[Any]
    scores: ArrayLike
    extra: Extra | None = None


class Classification(Struct, frozen=True):
    """A label per entry; `probabilities` is float[entries, labels] in the declared order.

    `labels` are the ones chosen, one per entry; without them the likeliest of each.
    """

    probabilities: ArrayLike
    labels: Sequence[Label] | None = None
    extra: Extra | None = None


class Regression(Struct, frozen=True):
    """A number per entry, float[entries]; `intervals` is float[entries, 2], low and high."""

    values: ArrayLike
    intervals: ArrayLike | None = None
    extra: Extra | None = None


class Embedding(Struct, frozen=True):
    """A vector per entry, float[entries, dimension]."""

    vectors: ArrayLike
    extra: Extra | None = None


class Objects(Struct, frozen=True):
    """A JSON value per entry, each as the declared JSON Schema says."""

    values: Sequence[Any]
    extra: Extra | None = None


AnyAnswer = Prediction | Ranking | Classification | Regression | Embedding | Objects


def rank(item_ids: Sequence[Any], scores: NDArray[np.floating[Any]]) -> Prediction:
    """Order candidates by descending score; equal scores keep the request's order.

    For archives without `response`; with `response: {type: ranking}` return a `Ranking`.

    Args:
        item_ids: n ids in request order.
        scores: float[n] probabilities in request order.
    """
    order, rounded = ranked(scores)
    return Prediction(
        prediction=[item_ids[i] for i in order], confidence=rounded[order[0]], scores=rounded
    )


def ranked(scores: NDArray[Any]) -> tuple[list[int], list[float]]:
    """Return the places by descending score, ties in order, and the scores to six decimals."""
    # As floats: of small integers, the negative of 0 or -128 would come first.
    wide = scores.astype(np.float64)
    order: list[int] = np.argsort(-wide, kind="stable").tolist()
    rounded: list[float] = np.round(wide, DECIMALS).tolist()
    return order, rounded
