"""The answer of a record in a few words, as its declared type has it."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec

_SHOWN = 3


def answer_in_words(record: Mapping[str, Any]) -> str | None:
    """Return for example `classification of 4: good (0.9), bad (0.8), good (0.6), …`.

    None for a record without an answer, and for one that declares no type: what its prediction
    means is not known.
    """
    response, entries = record.get("response"), record.get("entries")
    if response is None or entries is None or record.get("prediction") is None:
        return None
    predicted = record["prediction"]
    if response == "ranking" and isinstance(predicted, list) and predicted:
        first, score = predicted[0], record.get("confidence")
        return f"ranking of {entries}, first {_text(first)} ({_text(score)})"
    if response not in ("classification", "regression"):
        return f"{response} of {entries}" if entries != 1 else f"{response}"
    # Of an entry there is one label or number: a list of them has an entry per row.
    many = isinstance(predicted, list)
    beside = record.get("confidence" if response == "classification" else "interval")
    words = _entries(predicted if many else [predicted], beside if many else [beside])
    return f"{response} of {entries}: {words}" if entries != 1 else f"{response}: {words}"


def _entries(predicted: Sequence[Any], beside: Any) -> str:
    # A log may hold lines that no worker of ours wrote: one has not to hide the others.
    fits = isinstance(beside, list) and len(beside) == len(predicted)
    pairs = zip(predicted, beside if fits else [None] * len(predicted), strict=True)
    told = [
        _text(each) + ("" if more is None else f" ({_text(more)})")
        for each, more in islice(pairs, _SHOWN)
    ]
    return ", ".join(told + (["…"] if len(predicted) > _SHOWN else []))


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " to ".join(_text(each) for each in value)
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
