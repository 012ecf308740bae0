"""A first schema from a sample: types, null, names; what is seen is told, not made a bound.

DuckDB reads the sample; docs/schema.md says what each of its types becomes.
"""

import json
import math
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from marloft.contract.schema import Property, RowSchema, is_json_name, python_name
from marloft.errors import ConfigError, DataError
from marloft.structure_errors import Place, dotted

_READERS = {
    ".parquet": "read_parquet(?)",
    ".csv": "read_csv(?, header = true, sample_size = -1)",
    ".json": "read_json(?, sample_size = -1)",
    ".jsonl": "read_json(?, sample_size = -1)",
    ".ndjson": "read_json(?, sample_size = -1)",
}
_SIZES = ("tinyint", "smallint", "integer", "bigint", "hugeint")
_TYPES = (
    {f"{sign}{size}": "integer" for sign in ("", "u") for size in _SIZES}
    | dict.fromkeys(("float", "double", "decimal"), "number")
    | {"boolean": "boolean"}
)
# As text, since JSON has no word for them.
_TIMES = {
    *("date", "time", "time with time zone", "interval", "timestamp", "timestamp with time zone"),
    *("timestamp_s", "timestamp_ms", "timestamp_ns", "time_ns"),
}
_TEXTS = {"varchar", "enum", "uuid"}
_KNOWN = {*_TYPES, *_TIMES, "blob", "enum", "uuid"}
_COMPOSITE = {"list", "array", "struct", "map"}
# Text is an enum when it has at most so many values, each seen so often on average.
MOST_VALUES = 10
ROWS_PER_VALUE = 10
_LONGEST_VALUE = 60


class Inferred(Struct, frozen=True, kw_only=True):
    """A schema, what was seen of each field by its place below `row`, and the rows looked at."""

    schema: RowSchema
    comments: dict[Place, str]
    rows: int


def infer_schema(sample: Path, max_rows: int) -> Inferred:
    """Return a schema that accepts the first `max_rows` rows of a Parquet, CSV or JSON file.

    Raises:
        ConfigError: the file's name has another ending, or DuckDB is not installed.
        DataError: the file is missing or damaged, is empty, or has a column that no field can be.
    """
    columns, rows = _read(sample, max_rows)
    if not rows:
        raise DataError(f"{sample} has no rows; give a sample with some.")
    found = _Inference(sample, optional=sample.suffix.lower() not in (".parquet", ".csv"))
    fields = found.fields(columns, rows, ())
    return Inferred(schema=RowSchema(row=fields), comments=found.comments, rows=len(rows))


def _read(sample: Path, max_rows: int) -> tuple[list[tuple[str, Any]], list[dict[str, Any]]]:
    """Return the columns with DuckDB's types, and the rows as a client would send them."""
    # The base install has no DuckDB.
    import duckdb  # noqa: PLC0415

    reader = _READERS.get(sample.suffix.lower())
    if reader is None:
        raise ConfigError(f"{sample}: a sample is a file {', '.join(_READERS)}; convert it.")
    if not sample.is_file():
        raise DataError(f"{sample} is no file; check the path.")
    source = f"from {reader} limit {max_rows}"
    try:
        with duckdb.connect() as connection:
            relation = connection.sql(f"select * {source}", params=[str(sample)])
            columns = list(zip(relation.columns, relation.types, strict=True))
            # As JSON, which times, decimals and nested values have to be in a request too.
            names = ['"' + name.replace('"', '""') + '"' for name, _ in columns]
            query = f"select {', '.join(f'to_json({name})' for name in names)} {source}"
            texts = connection.execute(query, [str(sample)]).fetchall()
    except duckdb.Error as error:
        raise DataError(f"{sample}: {str(error).splitlines()[0]}") from None
    rows = [[None if text is None else json.loads(text) for text in row] for row in texts]
    return columns, [dict(zip((name for name, _ in columns), row, strict=True)) for row in rows]


class _Inference:
    """Turns values of a type into a property, and notes what it saw."""

    def __init__(self, sample: Path, *, optional: bool) -> None:
        self._sample = sample
        # In JSON a null may be a field that is not there.
        self._optional = optional
        self.comments: dict[Place, str] = {}

    def fields(
        self, columns: list[tuple[str, Any]], rows: list[dict[str, Any]], place: Place
    ) -> dict[str, Property]:
        """Return the fields of an object of which `rows` are examples."""
        found: dict[str, Property] = {}
        for name, kind in columns:
            if not is_json_name(name):
                raise DataError(
                    f"{self._sample}: column {name!r} holds a quote, a backslash or a control "
                    "character, which no field's name may; rename it."
                )
            key = python_name(name)
            while key in found:
                key += "_"
            field = self._property(kind, [row.get(name) for row in rows], (*place, key))
            alias = None if key == name else name
            default = None if self._optional and field.nullable else msgspec.UNSET
            found[key] = msgspec.structs.replace(field, alias=alias, default=default)
        return found

    def _property(self, kind: Any, values: list[Any], place: Place) -> Property:
        present = [each for each in values if each is not None and not _is_nan(each)]
        words = self._words(kind, present, place)
        if len(present) < len(values):
            words["type"] = [words["type"], "null"]
            if "enum" in words:
                words["enum"] = [*words["enum"], None]
        return Property(**words)

    def _words(self, kind: Any, present: list[Any], place: Place) -> dict[str, Any]:
        # JSON is DuckDB's word for values of several types, or of none.
        name = "several types" if str(kind) == "JSON" else kind.id
        words: dict[str, Any] = {"type": _TYPES.get(name, "string")}
        if name in _COMPOSITE:
            words = self._composite(kind, present, place)
        elif not present:
            self.comments[place] = "no value seen" + ": correct the type" * (name not in _KNOWN)
        elif name in _TIMES:
            self._saw(place, present, f"{name}, ")
        elif words["type"] in ("integer", "number"):
            self._saw(place, present)
        elif name in _TEXTS:
            words |= self._text(present, place)
        elif name not in _KNOWN:
            raise DataError(
                f"{self._sample}: column {dotted(place)} holds {name}, which no field can; give "
                "its values one type that JSON has."
            )
        return words | ({"content_encoding": "base64"} if name == "blob" else {})

    def _text(self, present: list[str], place: Place) -> dict[str, Any]:
        values = sorted(set(present))
        few = len(values) <= MOST_VALUES and len(present) >= ROWS_PER_VALUE * len(values)
        if few and max(map(len, values)) <= _LONGEST_VALUE:
            self.comments[place] = f"every value seen in {len(present):,}"
            return {"enum": values}
        self._saw(place, [len(each) for each in present], unit=" characters")
        return {}

    def _composite(self, kind: Any, present: list[Any], place: Place) -> dict[str, Any]:
        if kind.id == "struct":
            fields = self.fields(list(kind.children), present, (*place, "properties"))
            return {"type": "object", "properties": fields}
        children = dict(kind.children)
        if kind.id == "map":
            self._saw(place, [len(each) for each in present], unit=" keys")
            parts = [part for each in present for part in each.values()]
            part = self._property(children["value"], parts, (*place, "additionalProperties"))
            return {"type": "object", "additional_properties": part}
        self._saw(place, [len(each) for each in present], unit=" items")
        items = [item for each in present for item in each]
        return {
            "type": "array",
            "items": self._property(children["child"], items, (*place, "items")),
        }

    def _saw(self, place: Place, values: list[Any], what: str = "", unit: str = "") -> None:
        if values:
            low, high = min(values), max(values)
            span = f"{low}" if low == high else f"{low} to {high}"
            self.comments[place] = (
                f"{what}seen: {span}{unit.removesuffix('s') if span == '1' else unit}"
            )


def _is_nan(value: Any) -> bool:
    """Whether a number is one that JSON has no word for: a client sends null."""
    return isinstance(value, float) and not math.isfinite(value)
