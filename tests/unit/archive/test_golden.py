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
