"""What `encode` returns for one request, checked and encoded once for the log and the answer."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

_ENCODER = msgspec.json.Encoder()


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """What `encode` returns for one request.

    `prediction` is any JSON value without NaN or infinity; `scores` and `confidence` are finite.
    `extra` goes to the prediction log only, for example counts of unknown ids.
    """

    prediction: Any
    confidence: float
    scores: list[float] | None = None
    extra: dict[str, Any] | None = None


class EncodedPrediction(msgspec.Struct, frozen=True, kw_only=True):
    """A checked Prediction whose larger parts are JSON already: log and answer share the bytes.

    `prediction` and `scores` are `msgspec.Raw` (or None), which a record takes in place of a value.
    """

    prediction: Any
    confidence: float
    scores: Any
    extra: dict[str, Any] | None


def rank(item_ids: Sequence[Any], scores: NDArray[np.float32]) -> Prediction:
    """Order candidates by descending score; equal scores keep the request's order.

    Args:
        item_ids: n ids in request order.
        scores: float32[n] probabilities in request order.
    """
    order = np.argsort(-scores, kind="stable")
    rounded = np.round(scores.astype(np.float64), 6).tolist()
    return Prediction(
        prediction=[item_ids[i] for i in order],
        confidence=rounded[order[0]],
        scores=rounded,
    )


def encode_prediction(returned: object) -> EncodedPrediction:
    """Check what `encode` returned and encode it.

    What cannot be encoded would otherwise fail the whole batch when the log is written.

    Raises:
        TypeError: it is no Prediction, or holds what is not JSON, NumPy scalars included.
        ValueError: a number in it is NaN or infinite; JSON has no such numbers (RFC 8259).
    """
    if not isinstance(returned, Prediction):
        raise TypeError(f"encode returned {type(returned).__name__}, not a Prediction.")
    prediction = _ENCODER.encode(returned.prediction)
    if b"null" in prediction and _holds_not_finite(returned.prediction):
        raise ValueError("encode returned a prediction with NaN or infinity in it; allowed: JSON.")
    _numbers("confidence", returned.confidence)
    if returned.extra is not None:
        _ENCODER.encode(returned.extra)
    return EncodedPrediction(
        prediction=msgspec.Raw(prediction),
        confidence=returned.confidence,
        scores=None if returned.scores is None else _numbers("scores", returned.scores),
        extra=returned.extra,
    )


def _numbers(field: str, values: float | list[float]) -> msgspec.Raw:
    encoded = _ENCODER.encode(values)
    # msgspec writes NaN and infinity as null, which is quicker to find than each number.
    if b"n" in encoded:
        raise ValueError(f"encode returned {field} with NaN, infinity or None; allowed: numbers.")
    return msgspec.Raw(encoded)


def _holds_not_finite(value: object) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    if isinstance(value, Mapping):
        return any(_holds_not_finite(each) for each in value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return any(_holds_not_finite(each) for each in value)
    return False
