"""Golden answers: read with care, compared with a tolerance."""

from typing import Any

import msgspec
import pytest

from harness import factories
from marloft.archive.golden import compile_schema, parse_golden
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


ASKED = RowSchema(
    row=SCHEMA.row, parameters={"top_k": Property(type="integer", minimum=1, maximum=9)}
)


def test_golden_parameters_are_checked_as_requests_are() -> None:
    row = {"features": [{"item_id": 1}]}
    good = _lines(row | {"parameters": {"top_k": 3}})
    assert len(parse_golden(good, ASKED)) == 1
    for wrong, said in (
        ({}, "missing required field `top_k`"),
        ({"parameters": {"top_k": 10}}, "<= 9"),
        ({"parameters": {"top_k": 3, "x": 1}}, "unknown field `x`"),
        ({"parameters": None}, "Expected `object`"),
    ):
        with pytest.raises(ConfigError, match=f"golden.jsonl:2: .*{said}"):
            parse_golden(good + _lines(row | wrong), ASKED)
    with pytest.raises(ConfigError, match="unknown field `parameters`"):
        parse_golden(good, SCHEMA)


@pytest.mark.parametrize(
    "field",
    [
        Property(type="string", pattern="("),
        Property(type="string", pattern="a{99999999999}"),
        Property(type="number", minimum=10**400),
        Property(type="integer", enum=[2**70]),
        Property(type="string", enum=[]),
        Property(type="integer", minimum=1, exclusive_minimum=1),
        Property(type="integer", maximum=2**64),
        Property(type=[]),
    ],
)
def test_schema_of_a_foreign_archive_that_nothing_can_compile_is_refused(field: Property) -> None:
    with pytest.raises(ConfigError, match="schema: "):
        compile_schema(RowSchema(row={"x": field}))
