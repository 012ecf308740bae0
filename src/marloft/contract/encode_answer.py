"""Checks what a handler returned against the archive's declaration, and encodes it once.

Log and answer share the bytes.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import ArrayLike, NDArray

from marloft.contract import response as declared
from marloft.contract.answers import (
    Classification,
    Embedding,
    Extra,
    Objects,
    Prediction,
    Ranking,
    Regression,
    ranked,
)
from marloft.contract.json_schema import fault_of
from marloft.contract.response import Label, Response, label_texts, type_of

_ENCODER = msgspec.json.Encoder()
_DECIMALS = 6
# As many digits as tell any two float32 apart.
_DIGITS = 9
_SLACK = 1e-4
_TYPES: dict[str, type[Struct]] = {
    "ranking": Ranking,
    "classification": Classification,
    "regression": Regression,
    "embedding": Embedding,
    "object": Objects,
}


class Answer(Struct, frozen=True, kw_only=True):
    """A checked answer, JSON already (`msgspec.Raw`, which a record takes in place of a value).

    What the type does not have is None. `entries` counts what the prediction has: ids of a ranking,
    rows, or 1; None without a declared type, which alone would say.
    """

    prediction: Any
    entries: int | None = None
    confidence: Any = None
    scores: Any = None
    probabilities: Any = None
    interval: Any = None
    extra: Extra | None = None

    def parts(self) -> dict[str, msgspec.Raw]:
        """Return what the type has, by its name in the body of an answer."""
        parts = {
            "prediction": self.prediction,
            "confidence": self.confidence,
            "scores": self.scores,
            "probabilities": self.probabilities,
            "interval": self.interval,
        }
        return {name: part for name, part in parts.items() if part is not None}


def encode_answer(returned: object, response: Response | None, rows: int) -> Answer:
    """Check what `encode` returned for a request of `rows` rows and encode it.

    What cannot be encoded would otherwise fail the whole batch when the log is written.

    Args:
        returned: the value of the class that belongs to the declared type.
        response: what the archive declares; None for one that declares nothing.
        rows: how many rows the request has.

    Raises:
        TypeError: it is of another class, or holds what is not JSON, NumPy scalars included.
        ValueError: it has another number of entries, or a value that the declaration does not
            allow; NaN and infinity are none (RFC 8259).
    """
    if response is None:
        return _undeclared(returned)
    expected = value_class(response)
    if not isinstance(returned, expected):
        raise TypeError(
            f"encode returned {type(returned).__name__}, but the archive answers with "
            f"`response: {{type: {type_of(response)}}}`: return a {expected.__name__}."
        )
    answer = _encode(returned, response, rows)
    if answer.extra is not None:
        _ENCODER.encode(answer.extra)
    return answer


def value_class(response: Response) -> type[Struct]:
    """Return the class of what a handler returns for the declared type."""
    return _TYPES[type_of(response)]


def _undeclared(returned: object) -> Answer:
    if isinstance(returned, Ranking):
        return _ranking(returned)
    if not isinstance(returned, Prediction):
        raise TypeError(
            f"encode returned {type(returned).__name__}, not a Prediction; an archive that answers "
            "with another class says so in its YAML file: `response: {type: …}`."
        )
    if returned.extra is not None:
        _ENCODER.encode(returned.extra)
    return Answer(
        prediction=_json("a prediction", returned.prediction),
        confidence=_numbers("confidence", returned.confidence),
        scores=None if returned.scores is None else _numbers("scores", returned.scores),
        extra=returned.extra,
    )


def _encode(returned: Any, response: Response, rows: int) -> Answer:
    entries = rows if response.per == "row" else 1
    if isinstance(response, declared.ClassificationResponse):
        return _classification(returned, response, entries)
    if isinstance(response, declared.RegressionResponse):
        return _regression(returned, response, entries)
    if isinstance(response, declared.EmbeddingResponse):
        return _embedding(returned, response, entries)
    if isinstance(response, declared.ObjectResponse):
        return _objects(returned, response, entries)
    return replace(_ranking(returned), entries=len(returned.ids))


def _ranking(ranking: Ranking) -> Answer:
    scores = _array("scores", ranking.scores, (len(ranking.ids),))
    if not len(scores):
        raise ValueError("encode returned a Ranking without ids; it needs at least one.")
    order, rounded = ranked(scores)
    return Answer(
        prediction=_json("ids", [ranking.ids[i] for i in order]),
        confidence=_numbers("confidence", rounded[order[0]]),
        scores=_numbers("scores", rounded),
        extra=ranking.extra,
    )


def _classification(
    returned: Classification, response: declared.ClassificationResponse, entries: int
) -> Answer:
    count = len(response.labels)
    shares = _array("probabilities", returned.probabilities, (entries, count)).astype(np.float64)
    if shares.min() < -_SLACK or shares.max() > 1 + _SLACK:
        raise ValueError(
            f"encode returned probabilities from {shares.min():g} to {shares.max():g}; allowed: 0 "
            "to 1. Apply softmax or sigmoid to a model's logits."
        )
    rounded = np.round(np.clip(shares, 0, 1), _DECIMALS)
    chosen = _chosen(returned.labels, response.labels, shares)
    confidence = [rounded[entry, place].item() for entry, place in enumerate(chosen)]
    probabilities = None
    if response.top != 0:
        texts = label_texts(response.labels)
        probabilities = [_by_label(texts, row, response.top) for row in rounded]
    return Answer(
        entries=entries,
        prediction=_each([response.labels[place] for place in chosen], response),
        confidence=_each(confidence, response),
        probabilities=None if probabilities is None else _each(probabilities, response),
        extra=returned.extra,
    )


def _chosen(
    labels: Sequence[Label] | None, known: Sequence[Label], shares: NDArray[np.float64]
) -> list[int]:
    """Return the column of each entry's label."""
    if labels is None:
        best: list[int] = shares.argmax(axis=1).tolist()
        return best
    if len(labels) != len(shares):
        raise ValueError(f"encode returned {len(labels)} labels for {len(shares)} entries.")
    # By type too: True would be found as 1.
    places = {(type(label), label): place for place, label in enumerate(known)}
    unknown = [label for label in labels if (type(label), label) not in places]
    if unknown:
        raise ValueError(f"encode returned the label {unknown[0]!r}; declared: {list(known)}.")
    return [places[type(label), label] for label in labels]


def _by_label(texts: Sequence[str], row: NDArray[np.float64], top: int | None) -> dict[str, float]:
    if top is None:
        return dict(zip(texts, row.tolist(), strict=True))
    return {texts[place]: row[place].item() for place in np.argsort(-row, kind="stable")[:top]}


def _regression(
    returned: Regression, response: declared.RegressionResponse, entries: int
) -> Answer:
    values = _array("values", returned.values, (entries,))
    interval = None
    if (returned.intervals is None) != (response.interval is None):
        raise ValueError(
            "encode returned intervals, but the archive declares none: write `interval: 0.9` under "
            "`response`, with the share of cases that they cover."
            if response.interval is None
            else "encode returned no intervals, but the archive declares `interval`."
        )
    if returned.intervals is not None:
        bounds = _array("intervals", returned.intervals, (entries, 2))
        if (bounds[:, 0] > bounds[:, 1]).any():
            raise ValueError("encode returned an interval whose low end is above its high end.")
        interval = _each(_plain(bounds), response)
    return Answer(
        entries=entries,
        prediction=_each(_plain(values), response),
        interval=interval,
        extra=returned.extra,
    )


def _embedding(returned: Embedding, response: declared.EmbeddingResponse, entries: int) -> Answer:
    vectors = _array("vectors", returned.vectors, (entries, response.dimension))
    prediction = _each(_plain(vectors), response)
    return Answer(entries=entries, prediction=prediction, extra=returned.extra)


def _objects(returned: Objects, response: declared.ObjectResponse, entries: int) -> Answer:
    if len(returned.values) != entries:
        raise ValueError(f"encode returned {len(returned.values)} values; needed: {entries}.")
    values = list(returned.values)
    _json("values", values)
    for number, value in enumerate(values):
        fault = fault_of(value, response.schema)
        if fault is not None:
            raise ValueError(f"encode returned value {number} against the declared schema: {fault}")
    return Answer(entries=entries, prediction=_each(values, response), extra=returned.extra)


def _each(entries: list[Any], response: Response) -> msgspec.Raw:
    """Encode entries that have been checked: a list of them, or the one of `per: request`."""
    return msgspec.Raw(_ENCODER.encode(entries if response.per == "row" else entries[0]))


def _array(field: str, values: ArrayLike, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return finite numbers of the expected shape."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"encode returned {field} of {array.dtype}; allowed: numbers.")
    if array.shape != shape:
        raise ValueError(
            f"encode returned {field} of shape {list(array.shape)}; needed: {list(shape)}."
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"encode returned {field} with NaN or infinity; allowed: numbers.")
    return array


def _plain(array: NDArray[Any]) -> list[Any]:
    """Return Python numbers; those of float32 with the digits that they have."""
    if array.dtype not in (np.float32, np.float16):
        plain: list[Any] = array.tolist()
        return plain
    wide = array.astype(np.float64)
    size = np.floor(np.log10(np.abs(np.where(wide == 0, 1, wide))))
    # A power of ten of more digits than a float64 has would overflow for the smallest numbers.
    scale = 10.0 ** np.minimum(_DIGITS - 1 - size, 300)
    digits: list[Any] = (np.round(wide * scale) / scale).tolist()
    return digits


def _json(what: str, value: object) -> msgspec.Raw:
    encoded = _ENCODER.encode(value)
    if b"null" in encoded and _holds_not_finite(value):
        raise ValueError(f"encode returned {what} with NaN or infinity in it; allowed: JSON.")
    return msgspec.Raw(encoded)


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
