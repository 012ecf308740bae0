"""Compares what a handler answers with a golden answer, by the declared type of the response."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from marloft.contract import json_schema
from marloft.contract.manifest import GOLDEN_JSONL, GoldenAnswer, Manifest
from marloft.contract.response import (
    FIELDS,
    ClassificationResponse,
    RankingResponse,
    Response,
    properties,
    type_of,
)
from marloft.errors import ConfigError, nearest
from marloft.files import NOT_JSON

Json = dict[str, Any]
# Of an archive that declares no response.
UNDECLARED = ("prediction", "confidence", "scores")


def check_expected(answers: Sequence[GoldenAnswer], response: Response | None) -> None:
    """Check the golden answers against what the archive declares that it answers.

    Raises:
        ConfigError: a line holds a field that the type does not have, or a value that it does not
            allow.
    """
    for number, answer in enumerate(answers, start=1):
        fault = expected_fault(answer.expected, response)
        if fault is not None:
            raise ConfigError(f"{GOLDEN_JSONL}:{number}: {fault}")


def expected_fault(expected: Mapping[str, Any], response: Response | None) -> str | None:
    """Return in words why `expected` cannot be an answer of the declared type, else None."""
    allowed = UNDECLARED if response is None else FIELDS[type_of(response)]
    for field in expected:
        if field not in allowed:
            of = "" if response is None else f" of a {type_of(response)}"
            return f"unknown field {field!r}{of}.{nearest(str(field), allowed)}"
    if response is None:
        return None
    if not expected:
        return f"the expected answer is empty; give {', '.join(allowed)}, or some of them."
    form = {"properties": properties(response), "additionalProperties": False}
    fault = json_schema.fault_of(dict(expected), form)
    if fault is None and isinstance(response, RankingResponse) and len(expected) > 1:
        lengths = [len(expected.get(field, [])) for field in ("scores", "prediction")]
        if 0 < lengths[0] != lengths[1] > 0:
            return f"{lengths[0]} scores for a prediction of {lengths[1]}."
    return fault


def golden_difference(
    manifest: Manifest, golden: GoldenAnswer, status: int, body: str
) -> str | None:
    """Return in words how an archive's HTTP response differs from its golden answer, else None."""
    return response_difference(
        golden.expected, status, body, manifest.golden_tolerance, manifest.declared_response
    )


def response_difference(
    expected: Json, status: int, body: str, tolerance: float, response: Response | None = None
) -> str | None:
    """Return in words how an HTTP response differs from the golden answer, None if it does not."""
    if status != 200:
        return f"status {status}: {body}"
    try:
        answer = msgspec.json.decode(body, type=Json)
    except NOT_JSON:
        return f"the answer is no JSON object: {body[:80]!r}"
    return difference(expected, answer, tolerance, response)


def difference(
    expected: Json, answer: Json, tolerance: float, response: Response | None = None
) -> str | None:
    """Return in words how an answer differs from the golden one, None when it is the same.

    Numbers may differ by `tolerance`, however deep they are nested. A ranking may swap entries
    whose golden scores are closer than twice that, since each of the two may have moved by it.
    Labels and ids are compared exactly. Without a declared response a prediction counts as a
    ranking when it has one score for each of its entries, all different, and integers are exact.
    """
    for field in expected:
        if field not in answer:
            return f"{field} is missing"
        found = _field_difference(field, expected, answer, tolerance, response)
        if found is not None:
            return f"{field}: {found}"
    return None


def _field_difference(
    field: str, expected: Json, answer: Json, tolerance: float, response: Response | None
) -> str | None:
    wanted, got = expected[field], answer[field]
    if response is None:
        if field == "prediction" and _looks_ranked(wanted, expected.get("scores")):
            return _misranked(wanted, got, expected["scores"], 2 * tolerance)
        return _numeric_difference(wanted, got, tolerance, exact_integers=True)
    if field == "prediction":
        if isinstance(response, RankingResponse) and _is_scored(wanted, expected.get("scores")):
            return _misranked(wanted, got, expected["scores"], 2 * tolerance)
        if isinstance(response, RankingResponse | ClassificationResponse):
            return None if _same(wanted, got) else f"{got!r}, golden {wanted!r}"
    if field == "probabilities" and isinstance(response, ClassificationResponse) and response.top:
        return _likeliest_difference(wanted, got, tolerance)
    return _numeric_difference(wanted, got, tolerance)


def _numeric_difference(
    wanted: Any, got: Any, tolerance: float, *, exact_integers: bool = False
) -> str | None:
    """Compare values of any nesting; booleans are no numbers."""
    if isinstance(wanted, list) and isinstance(got, list):
        if len(wanted) != len(got):
            return f"{len(got)} entries, golden {len(wanted)}"
        pairs = {f"entry {i}": pair for i, pair in enumerate(zip(wanted, got, strict=True))}
    elif isinstance(wanted, dict) and isinstance(got, dict):
        if wanted.keys() != got.keys():
            return f"fields {sorted(got)}, golden {sorted(wanted)}"
        pairs = {repr(name): (wanted[name], got[name]) for name in wanted}
    else:
        return _value_difference(wanted, got, tolerance, exact_integers=exact_integers)
    for place, (own, other) in pairs.items():
        found = _numeric_difference(own, other, tolerance, exact_integers=exact_integers)
        if found is not None:
            return f"{place}: {found}"
    return None


def _value_difference(
    wanted: Any, got: Any, tolerance: float, *, exact_integers: bool
) -> str | None:
    if _is_number(wanted) and _is_number(got) and not (exact_integers and isinstance(wanted, int)):
        same = _within(wanted, got, tolerance)
        return None if same else f"{got!r}, golden {wanted!r} (tolerance {tolerance:g})"
    return None if _same(wanted, got) else f"{got!r}, golden {wanted!r}"


def _likeliest_difference(wanted: Any, got: Any, tolerance: float) -> str | None:
    """Compare probabilities of which only the likeliest are told: at the limit, labels may swap."""
    own, others = ([wanted], [got]) if isinstance(wanted, dict) else (wanted, got)
    sizes = [list(map(_size, each)) if isinstance(each, list) else None for each in (own, others)]
    if sizes[0] != sizes[1] or sizes[0] is None or None in sizes[0]:
        return None if _same(wanted, got) else f"{got!r}, golden {wanted!r}"
    for golden, other in zip(own, others, strict=True):
        limit = min(golden.values(), default=0.0)
        for name in sorted(golden.keys() | other.keys()):
            slack = tolerance if name in golden and name in other else 2 * tolerance
            found = _value_difference(
                golden.get(name, limit), other.get(name, limit), slack, exact_integers=False
            )
            if found is not None:
                return f"{name!r}: {found}"
    return None


def _size(entry: Any) -> int | None:
    """Return how many probabilities an entry tells, None when it is something else."""
    are_numbers = isinstance(entry, dict) and all(map(_is_number, entry.values()))
    return len(entry) if are_numbers else None


def _looks_ranked(prediction: Any, scores: Any) -> bool:
    """Whether a prediction orders one entry per score; labels of rows repeat or are too few."""
    return _is_scored(prediction, scores) and len(prediction) == len(set(map(repr, prediction)))


def _is_scored(prediction: Any, scores: Any) -> bool:
    return (
        isinstance(prediction, list)
        and isinstance(scores, list)
        and all(map(_is_number, scores))
        and len(prediction) == len(scores)
    )


def _misranked(wanted: list[Any], got: Any, scores: Sequence[float], slack: float) -> str | None:
    if not isinstance(got, list) or sorted(map(_text, got)) != sorted(map(_text, wanted)):
        return f"{got!r} are not the candidates of the golden answer"
    descending = sorted(scores, reverse=True)
    scores_of: dict[bytes, list[float]] = defaultdict(list)
    for entry, score in zip(wanted, descending, strict=True):
        scores_of[_text(entry)].append(score)
    for place, (entry, score) in enumerate(zip(got, descending, strict=True)):
        if not any(_within(own, score, slack) for own in scores_of[_text(entry)]):
            return f"{entry!r} at place {place}, golden {wanted[place]!r}"
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _within(wanted: float, got: float, tolerance: float) -> bool:
    try:
        # Written so that a NaN on either side is a difference.
        return abs(wanted - got) <= tolerance
    except OverflowError:
        # An integer beyond the largest float, next to a float.
        return False


def _same(wanted: Any, got: Any) -> bool:
    """Whether both are the same JSON: 1, 1.0 and true are three values."""
    return _text(wanted) == _text(got)


def _text(value: Any) -> bytes:
    return msgspec.json.encode(value, order="sorted")
