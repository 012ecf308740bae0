"""Golden answers: read with care, compared with a tolerance."""

import math
from typing import Any

import msgspec
import pytest

from harness import factories
from marloft.archive.golden import compile_schema, difference, parse_golden
from marloft.contract.schema import Property, RowSchema
from marloft.errors import ConfigError

SCHEMA = RowSchema(row={"item_id": Property(type="integer", minimum=0)})


def _lines(*requests: dict[str, Any]) -> bytes:
    return b"".join(
        msgspec.json.encode({"request": request, "expected": {}}) + b"\n" for request in requests
    )


def test_golden_lines_are_read() -> None:
    data = msgspec.json.Encoder().encode_lines(factories.golden())
    assert parse_golden(data, SCHEMA) == factories.golden()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"{\n", "golden.jsonl:1"),
        (_lines({"features": [{"item_id": 1}]}, {"features": [{"item_id": "x"}]}), "jsonl:2"),
        (_lines({"features": [{"item_id": 1}], "usr": 3}), "unknown field `usr`"),
    ],
)
def test_faulty_golden_file_is_refused_with_its_line(data: bytes, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_golden(data, SCHEMA)


def test_schema_with_senseless_bounds_is_refused() -> None:
    schema = RowSchema(row={"name": Property(type="string", min_length=-1)})
    with pytest.raises(ConfigError, match="correct the field's bounds"):
        compile_schema(schema)


EXPECTED = {"scores": [0.2, 0.9, 0.89999], "prediction": [12, 13, 11]}


def test_answer_within_tolerance_is_the_same() -> None:
    answer = {"scores": [0.20005, 0.9, 0.89999], "prediction": [12, 13, 11], "confidence": 1}
    assert difference(EXPECTED, answer, 1e-4) is None


def test_entries_with_near_equal_scores_may_swap() -> None:
    answer = {"scores": EXPECTED["scores"], "prediction": [13, 12, 11]}
    assert difference(EXPECTED, answer, 1e-4) is None
    assert "prediction" in str(difference(EXPECTED, answer, 1e-6))


@pytest.mark.parametrize(
    "answer",
    [
        {"scores": [0.2, 0.9]},
        {"scores": [0.2003, 0.9, 0.89999], "prediction": [12, 13, 11]},
        {"scores": [math.nan, 0.9, 0.89999], "prediction": [12, 13, 11]},
        {"scores": EXPECTED["scores"], "prediction": [11, 12, 13]},
        {"scores": EXPECTED["scores"], "prediction": [12, 13, 14]},
        {"scores": EXPECTED["scores"]},
    ],
)
def test_different_answer_is_told(answer: dict[str, Any]) -> None:
    assert difference(EXPECTED, answer, 1e-4) is not None


LABELS = {"scores": [0.9, 0.2, 0.8], "prediction": [True, False, True]}


def test_labels_of_rows_are_no_ranking() -> None:
    assert difference(LABELS, {**LABELS, "confidence": 0.9}, 1e-4) is None
    swapped = {**LABELS, "prediction": [True, True, False]}
    assert difference(LABELS, swapped, 1e-4) == "prediction: entry 1: True, golden False"
