"""Checks what a handler returned against the archive's declaration, and encodes it once.

Log and answer share the bytes.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from marloft.contract import response as declared
from marloft.contract.answers import (
    DECIMALS,
    Classification,
    Embedding,
    Extra,
    Objects,
    Prediction,
    Ranking,
    Regression,
    ranked,
)
from marloft.contract.encode_values import (
    ENCODER,
    array_of,
    check_extra,
    json_of,
    listed,
    numbers_of,
    plain_numbers,
)
from marloft.contract.json_schema import fault_of
from marloft.contract.response import Label, Response, label_texts, type_of

_ID_TYPES = frozenset((int, str))
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
    check_extra(answer.extra)
    return answer


def value_class(response: Response) -> type[Struct]:
    """Return the class of what a handler returns for the declared type."""
    return _TYPES[type_of(response)]


def _undeclared(returned: object) -> Answer:
    if isinstance(returned, Ranking):
        check_extra(returned.extra)
        return _ranking(returned, None)
    if not isinstance(returned, Prediction):
        raise TypeError(
            f"encode returned {type(returned).__name__}, not a Prediction; an archive that answers "
            "with another class says so in its YAML file: `response: {type: …}`."
        )
    if returned.extra is not None:
        ENCODER.encode(returned.extra)
    return Answer(
        prediction=json_of("a prediction", returned.prediction),
        confidence=numbers_of("confidence", returned.confidence),
        scores=None if returned.scores is None else numbers_of("scores", returned.scores),
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
    answer = _ranking(returned, response)
    if not _ID_TYPES.issuperset(map(type, returned.ids)):
        strange = next(each for each in returned.ids if type(each) not in _ID_TYPES)
        raise TypeError(f"encode returned the id {strange!r}; allowed: integers and strings.")
    return answer


def _ranking(ranking: Ranking, response: Response | None) -> Answer:
    ids = listed("ids", ranking.ids)
    scores = array_of("scores", ranking.scores, (len(ids),))
    if not len(scores):
        raise ValueError("encode returned a Ranking without ids; it needs at least one.")
    order, rounded = ranked(scores)
    return Answer(
        entries=None if response is None else len(ids),
        prediction=json_of("ids", [ids[i] for i in order]),
        confidence=numbers_of("confidence", rounded[order[0]]),
        scores=numbers_of("scores", rounded),
        extra=ranking.extra,
    )


def _classification(
    returned: Classification, response: declared.ClassificationResponse, entries: int
) -> Answer:
    count = len(response.labels)
    shares = array_of("probabilities", returned.probabilities, (entries, count)).astype(np.float64)
    if shares.min() < -_SLACK or shares.max() > 1 + _SLACK:
        raise ValueError(
            f"encode returned probabilities from {shares.min():g} to {shares.max():g}; allowed: 0 "
            "to 1. Apply softmax or sigmoid to a model's logits."
        )
    rounded = np.round(np.clip(shares, 0, 1), DECIMALS)
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
    labels = listed("labels", labels)
    if len(labels) != len(shares):
        raise ValueError(f"encode returned {len(labels)} labels for {len(shares)} entries.")
    # By type too: True would be found as 1.
    places = {(type(label), label): place for place, label in enumerate(known)}
    unknown = [each for each in labels if not isinstance(each, bool | int | str)]
    unknown += [each for each in labels if not unknown and (type(each), each) not in places]
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
    values = array_of("values", returned.values, (entries,))
    interval = None
    if (returned.intervals is None) != (response.interval is None):
        raise ValueError(
            "encode returned intervals, but the archive declares none: write `interval: 0.9` under "
            "`response`, with the share of cases that they cover."
            if response.interval is None
            else "encode returned no intervals, but the archive declares `interval`."
        )
    if returned.intervals is not None:
        bounds = array_of("intervals", returned.intervals, (entries, 2))
        if (bounds[:, 0] > bounds[:, 1]).any():
            raise ValueError("encode returned an interval whose low end is above its high end.")
        interval = _each(plain_numbers(bounds), response)
    return Answer(
        entries=entries,
        prediction=_each(plain_numbers(values), response),
        interval=interval,
        extra=returned.extra,
    )


def _embedding(returned: Embedding, response: declared.EmbeddingResponse, entries: int) -> Answer:
    vectors = array_of("vectors", returned.vectors, (entries, response.dimension))
    prediction = _each(plain_numbers(vectors), response)
    return Answer(entries=entries, prediction=prediction, extra=returned.extra)


def _objects(returned: Objects, response: declared.ObjectResponse, entries: int) -> Answer:
    given = listed("values", returned.values)
    if len(given) != entries:
        raise ValueError(f"encode returned {len(given)} values; needed: {entries}.")
    # As a client reads them: a tuple is an array, a date is text.
    values = msgspec.json.decode(json_of("values", given))
    for number, value in enumerate(values):
        fault = fault_of(value, response.schema)
        if fault is not None:
            raise ValueError(f"encode returned value {number} against the declared schema: {fault}")
    return Answer(entries=entries, prediction=_each(values, response), extra=returned.extra)


def _each(entries: list[Any], response: Response) -> msgspec.Raw:
    """Encode entries that have been checked: a list of them, or the one of `per: request`."""
    return msgspec.Raw(ENCODER.encode(entries if response.per == "row" else entries[0]))
