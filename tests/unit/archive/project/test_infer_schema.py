"""A schema from a sample accepts every row of it, is good YAML, and bounds nothing."""

import base64
import datetime
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marloft.archive.project.infer_schema import Inferred, infer_schema
from marloft.archive.project.schema_yaml import schema_yaml
from marloft.archive.spec import parse_spec
from marloft.contract.schema import Property, RowSchema, rows_decoder
from marloft.errors import ConfigError, DataError


def read_back(found: Inferred, folder: Path) -> RowSchema:
    """The schema as `pack` reads it from an archive's file, into which it was pasted as it is."""
    config = folder / "a.yaml"
    block = schema_yaml(found.schema, found.comments, "head")
    config.write_text(f"name: a\nversion: '1.0'\nhandler: a.py\n{block}")
    schema = parse_spec(config).schema
    assert schema == found.schema
    return schema


def accepts(schema: RowSchema, rows: list[dict[str, Any]]) -> None:
    decoder = rows_decoder(msgspec.structs.replace(schema, max_rows=len(rows)))
    decoder.decode(json.dumps(rows).encode())


NOON = datetime.datetime(2024, 1, 2, 12, tzinfo=datetime.UTC)
COLUMNS: dict[str, tuple[pa.DataType, list[Any]]] = {
    "age": (pa.int32(), [22, 38, 26]),
    "fare": (pa.float64(), [7.25, None, float("nan")]),
    "price": (pa.decimal128(8, 2), [Decimal("1.50"), Decimal("2.25"), None]),
    "alive": (pa.bool_(), [True, False, True]),
    "name": (pa.string(), ["Ann", "Bo", "Cy"]),
    "home.dest": (pa.string(), ["St Louis, MO", None, "x"]),
    "class": (pa.string(), ["1st", "2nd", "1st"]),
    "tags": (pa.list_(pa.string()), [["a"], [], ["a", "b"]]),
    "photo": (pa.binary(), [b"\x00\xff", b"a", b"b"]),
    "born": (pa.date32(), [datetime.date(1990, 1, 2)] * 3),
    "seen": (pa.timestamp("us", tz="UTC"), [NOON] * 3),
    "address": (
        pa.struct([("zip.code", pa.int64()), ("lines", pa.list_(pa.string()))]),
        [{"zip.code": 1, "lines": ["a"]}, None, {"zip.code": None, "lines": []}],
    ),
    "counts": (pa.map_(pa.string(), pa.int64()), [[("x", 1)], [], [("y z", 2)]]),
    "empty": (pa.null(), [None] * 3),
}  # fmt: skip


def as_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float):
        return None if value != value else value  # noqa: PLR0124 - NaN
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime.date):
        return value.isoformat()
    return value


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    arrays = {name: pa.array(values, kind) for name, (kind, values) in COLUMNS.items()}
    path = tmp_path / "titanic.parquet"
    pq.write_table(pa.table(arrays), path)
    return path


def test_every_kind_of_column_becomes_a_field_that_accepts_its_rows(
    parquet: Path, tmp_path: Path
) -> None:
    schema = read_back(infer_schema(parquet, 100), tmp_path)
    rows: list[dict[str, Any]] = [
        {name: as_json(values[index]) for name, (_, values) in COLUMNS.items()}
        for index in range(3)
    ]
    for row in rows:
        row["counts"] = dict(row["counts"])
    accepts(schema, rows)
    assert {key: (field.type, field.alias) for key, field in schema.row.items()} == {
        "age": ("integer", None),
        "fare": (["number", "null"], None),
        "price": (["number", "null"], None),
        "alive": ("boolean", None),
        "name": ("string", None),
        "home_dest": (["string", "null"], "home.dest"),
        "class_": ("string", "class"),
        "tags": ("array", None),
        "photo": ("string", None),
        "born": ("string", None),
        "seen": ("string", None),
        "address": (["object", "null"], None),
        "counts": ("object", None),
        "empty": (["string", "null"], None),
    }
    assert schema.row["photo"].content_encoding == "base64"
    address = schema.row["address"].properties
    assert address is not None
    assert address["zip_code"] == Property(type=["integer", None], alias="zip.code")


def test_what_was_seen_is_a_comment(parquet: Path) -> None:
    found = infer_schema(parquet, 100)
    lines = schema_yaml(found.schema, found.comments, "From x.").splitlines()
    assert lines[:4] == ["# From x.", "schema:", "  max_rows: 500", "  row:"]
    assert "    age: {type: integer}  # seen: 22 to 38" in lines
    assert "    born: {type: string}  # date, seen: 1990-01-02" in lines
    assert "    tags:  # seen: 0 to 2 items" in lines
    assert "      items: {type: string}  # seen: 1 character" in lines
    assert "    empty: {type: [string, null]}  # no value seen: correct the type" in lines


def test_rows_of_json_may_lack_fields(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"a": 1, "deep": [{"x": "2024-01-02"}, {"y": 2}], "none": None},
        {"a": 2.5, "b": "t", "deep": []},
        {"a": None, "deep": [{"x": "2024-01-02", "y": 3}]},
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    accepts(read_back(infer_schema(path, 100), tmp_path), rows)
    array = tmp_path / "rows.json"
    array.write_text(json.dumps(rows))
    assert infer_schema(array, 100).schema == infer_schema(path, 100).schema


def test_csv_is_read_by_its_header(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,home.dest,ok,day\n1,x,true,2024-01-02\n2,,false,2024-01-03\n")
    schema = read_back(infer_schema(path, 100), tmp_path)
    accepts(schema, [{"a": 2, "home.dest": None, "ok": False, "day": "2024-01-03"}])


@pytest.mark.parametrize(
    ("values", "enum"),
    [
        (["a", "b"] * 10, ["a", "b"]),
        (["a", "b"] * 10 + [None], ["a", "b", None]),
        (["a", "b"] * 9, None),
        ([f"v{number}" for number in range(11)] * 20, None),
        (["x" * 61] * 30, None),
        (["null", "yes", "- #", ""] * 10, ["", "- #", "null", "yes"]),
    ],
)
def test_text_of_few_values_is_an_enum(
    tmp_path: Path, values: list[str | None], enum: list[str | None] | None
) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"x": values}), path)
    assert read_back(infer_schema(path, 1000), tmp_path).row["x"].enum == enum


def test_only_the_first_rows_are_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"x": [1, 2, None]}), path)
    assert infer_schema(path, 2).schema.row["x"] == Property(type="integer")
    assert infer_schema(path, 3).schema.row["x"].nullable


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("rows.xlsx", b"", r"a sample is a file \.parquet, \.csv"),
        ("rows.parquet", b"no parquet", "rows.parquet: "),
        ("rows.csv", b"a,b\n", "has no rows"),
        ("rows.jsonl", b'{"f": 1}\n{"f": "x"}\n', "column f holds several types"),
        ("rows.jsonl", b'{"a\\"b": 1}\n', "holds a quote"),
    ],
)
def test_sample_that_gives_no_schema_is_refused(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises((ConfigError, DataError), match=words):
        infer_schema(tmp_path / name, 10)


def test_missing_sample_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no file"):
        infer_schema(tmp_path / "gone.csv", 10)


VALUES = {
    "n": st.integers(-(2**60), 2**60),
    "x": st.floats(allow_nan=False, allow_infinity=False, width=32),
    "t": st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    "f": st.booleans(),
    "l": st.lists(st.integers(0, 5), max_size=3),
    "o": st.fixed_dictionaries({"a b": st.integers(0, 9)}, optional={"in": st.booleans()}),
}
ROWS = st.lists(
    st.fixed_dictionaries(
        {name: values | st.none() for name, values in VALUES.items()},
        optional={"class": st.sampled_from(["1st", "2nd"]), "é.è": st.integers(0, 1)},
    ),
    min_size=1,
    max_size=30,
)


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(ROWS)
def test_schema_of_any_rows_accepts_them(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    path = tmp_path / "rows.ndjson"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    accepts(read_back(infer_schema(path, 100), tmp_path), rows)
