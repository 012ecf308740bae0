"""Golden answers: parsed, checked against the row schema, compared with what a handler answers."""

from typing import Any

import msgspec

from marloft.contract.manifest import GOLDEN_JSONL, GoldenAnswer, decode_golden
from marloft.contract.predict_api import RequestEnvelope
from marloft.contract.schema import RowSchema, rows_decoder
from marloft.errors import ConfigError


def parse_golden(data: bytes, schema: RowSchema) -> list[GoldenAnswer]:
    """Return the recorded answers of `golden.jsonl`.

    Raises:
        ConfigError: the schema cannot be compiled, there is no line, a line is not a golden
            answer, or its request is one that the schema refuses.
    """
    decoder = compile_schema(schema)
    answers = decode_golden(data)
    if not answers:
        raise ConfigError(f"{GOLDEN_JSONL} is empty; record at least one answer.")
    for number, answer in enumerate(answers, start=1):
        try:
            body = msgspec.json.encode(answer.request)
            decoder.decode(msgspec.json.decode(body, type=RequestEnvelope).features)
        except msgspec.ValidationError as error:
            raise ConfigError(f"{GOLDEN_JSONL}:{number}: the schema refuses it: {error}") from None
    return answers


def compile_schema(schema: RowSchema) -> "msgspec.json.Decoder[list[Any]]":
    """Compile the schema; raises ConfigError with the cause when its bounds make no sense."""
    try:
        return rows_decoder(schema)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"schema: {error}; correct the field's bounds.") from None


def response_difference(
    expected: dict[str, Any], status: int, body: str, tolerance: float
) -> str | None:
    """Return in words how a response differs from the golden answer, None when it is the same."""
    if status != 200:
        return f"status {status}: {body}"
    try:
        answer = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError:
        return f"the answer is no JSON object: {body[:80]!r}"
    return difference(expected, answer, tolerance)


def difference(expected: dict[str, Any], answer: dict[str, Any], tolerance: float) -> str | None:
    """Return in words how an answer differs from the golden one, None when it is the same.

    Numbers may differ by `tolerance`. A ranking, which has each entry once, may swap entries whose
    golden scores are closer than twice that, since each of the two may have moved by it.
    """
    for field, wanted in expected.items():
        if field not in answer:
            return f"{field} is missing"
        if field == "prediction" and _is_ranking(wanted, expected.get("scores")):
            found = _misranked(wanted, answer[field], expected["scores"], 2 * tolerance)
        else:
            found = _differs(wanted, answer[field], tolerance)
        if found is not None:
            return f"{field}: {found}"
    return None


def _is_ranking(prediction: Any, scores: Any) -> bool:
    """Whether a prediction orders one entry per score; labels of rows repeat or are too few."""
    return (
        isinstance(prediction, list)
        and isinstance(scores, list)
        and len(prediction) == len(scores) == len(set(map(repr, prediction)))
    )


def _differs(wanted: Any, got: Any, tolerance: float) -> str | None:
    if isinstance(wanted, list) and isinstance(got, list):
        if len(wanted) != len(got):
            return f"{len(got)} entries, golden {len(wanted)}"
        parts = (_differs(w, g, tolerance) for w, g in zip(wanted, got, strict=True))
        return next((f"entry {i}: {part}" for i, part in enumerate(parts) if part), None)
    if isinstance(wanted, float) and isinstance(got, int | float):
        # Written so that a NaN on either side is a difference.
        same = abs(wanted - got) <= tolerance
        return None if same else f"{got!r}, golden {wanted!r} (tolerance {tolerance:g})"
    return None if wanted == got else f"{got!r}, golden {wanted!r}"


def _misranked(wanted: list[Any], got: Any, scores: list[float], slack: float) -> str | None:
    if not isinstance(got, list) or sorted(map(repr, got)) != sorted(map(repr, wanted)):
        return f"{got!r} are not the candidates of the golden answer"
    descending = sorted(scores, reverse=True)
    score_of = dict(zip(map(repr, wanted), descending, strict=True))
    for place, (entry, score) in enumerate(zip(got, descending, strict=True)):
        if abs(score_of[repr(entry)] - score) > slack:
            return f"{entry!r} at place {place}, golden {wanted[place]!r}"
    return None
