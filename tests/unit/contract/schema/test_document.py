"""A schema's document is JSON Schema 2020-12, means what the decoder does, and reads back."""

from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marloft.contract.schema import (
    Property,
    RowSchema,
    from_json_schema,
    parameters_schema,
    rows_decoder,
    to_json_schema,
)
from marloft.errors import ConfigError
from marloft.files import to_json
from tests.unit.contract.schema.random_schemas import ANYTHING, rows, values_for

Validator = jsonschema.Draft202012Validator


def decodes(schema: RowSchema, features: Any) -> bool:
    try:
        rows_decoder(schema).decode(msgspec.json.encode(features))
    except msgspec.ValidationError:
        return False
    return True


def without_whole_floats(value: Any) -> Any:
    """2.0 is an integer to JSON Schema and none to marloft: docs/schema.md says so."""
    if isinstance(value, list):
        return [without_whole_floats(each) for each in value]
    if isinstance(value, dict):
        return {key: without_whole_floats(each) for key, each in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


@given(st.data(), rows())
def test_decoder_and_document_agree_on_every_value(
    data: st.DataObject, row: dict[str, Property]
) -> None:
    schema = RowSchema(row=row, max_rows=2)
    document = msgspec.json.decode(to_json(to_json_schema(schema)))
    Validator.check_schema(document)
    one_row = Property(type="object", properties=row)
    good = values_for(Property(type="array", items=one_row, min_items=1, max_items=2))
    features = without_whole_floats(data.draw(good | st.lists(ANYTHING, max_size=3)))
    assert decodes(schema, features) == Validator(document).is_valid(features)


def test_large_whole_numbers_are_multiples_exactly() -> None:
    """2^63 / 3 is a whole number to a float, and none in truth."""
    schema = RowSchema(row={"x": Property(type="integer", multiple_of=3)})
    validator = Validator(msgspec.json.decode(to_json(to_json_schema(schema))))
    for value in (2**63, 2**63 + 1):
        assert decodes(schema, [{"x": value}]) is validator.is_valid([{"x": value}])
        assert decodes(schema, [{"x": value}]) is (value % 3 == 0)


@given(rows())
def test_document_reads_back_as_itself(row: dict[str, Property]) -> None:
    schema = RowSchema(row=row)
    document = msgspec.json.decode(to_json(to_json_schema(schema)))
    read = from_json_schema(document)
    assert to_json_schema(read) == document
    assert read == schema


@pytest.mark.parametrize(
    ("field", "value", "valid"),
    [
        (Property(type="integer"), 2.0, True),
        (Property(type="string", content_encoding="base64"), "no base64", True),
    ],
)
def test_where_marloft_is_stricter_than_the_document(
    field: Property, value: Any, valid: bool
) -> None:
    schema = RowSchema(row={"x": field})
    assert Validator(to_json_schema(schema)).is_valid([{"x": value}]) is valid
    assert not decodes(schema, [{"x": value}])


def test_fields_stand_under_the_names_that_clients_use() -> None:
    inner = Property(type="object", properties={"class_": Property(type="string", alias="class")})
    schema = RowSchema(
        row={"home_dest": Property(type=["null", "string"], alias="home.dest"), "of": inner}
    )
    properties = to_json_schema(schema)["items"]["properties"]
    assert properties["home.dest"] == {
        "type": ["string", "null"],
        "x-python-name": "home_dest",
    }
    assert properties["of"]["properties"]["class"]["x-python-name"] == "class_"
    assert properties["of"]["required"] == ["class"]
    assert from_json_schema(to_json_schema(schema)) == schema


def test_required_fields_are_sorted() -> None:
    number = Property(type="number", minimum=0)
    schema = RowSchema(row={"b": number, "a": number, "c": Property(type="string", default="")})
    assert to_json_schema(schema)["items"]["required"] == ["a", "b"]


def test_bounds_keep_the_bytes_that_earlier_versions_wrote_and_large_ones_their_digits() -> None:
    field = Property(type="integer", minimum=0, maximum=2**63 - 1)
    document = to_json(to_json_schema(RowSchema(row={"x": field})))
    assert b'"minimum": 0.0' in document
    assert b'"maximum": 9223372036854775807' in document


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"items": {"properties": []}, "maxItems": 5},
        {"items": {"properties": {"x": 1}}, "maxItems": 5},
        {"items": {"properties": {"x": {"type": "float"}}}, "maxItems": 5},
        {"items": {"properties": {"x": {"type": "string", "words": 1}}}, "maxItems": 5},
        {"items": {"properties": {"x": {"type": "array", "items": []}}}, "maxItems": 5},
    ],
)
def test_another_document_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="not a marloft row schema"):
        from_json_schema(document)


TOP_K = Property(type="integer", minimum=1, maximum=100, default=10)


def test_parameters_are_an_object_schema_of_the_document_and_read_back() -> None:
    schema = RowSchema(
        row={"n": Property(type="integer")},
        parameters={"top_k": TOP_K, "language": Property(type="string", enum=["en", "de"])},
    )
    document = to_json_schema(schema)
    jsonschema.Draft202012Validator.check_schema(document)
    described = parameters_schema(document)
    assert described == document["$defs"]["parameters"]
    assert described is not None
    jsonschema.validate({"language": "de"}, described)
    for wrong in ({}, {"language": "de", "top_k": 0}, {"language": "de", "x": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, described)
    assert from_json_schema(document) == schema


def test_document_without_parameters_says_nothing_of_them() -> None:
    schema = RowSchema(row={"n": Property(type="integer")})
    document = to_json_schema(schema)
    assert "$defs" not in document
    assert parameters_schema(document) is None
    assert from_json_schema(document).parameters == {}


@pytest.mark.parametrize("name", ["body", "top-k"])
def test_parameter_of_a_bad_name_is_refused_wherever_it_is_read(name: str) -> None:
    good = to_json_schema(RowSchema(row={}, parameters={"top_k": TOP_K}))
    parameters = good["$defs"]["parameters"]
    parameters["properties"][name] = parameters["properties"].pop("top_k")
    with pytest.raises(ConfigError, match=f"parameter '{name}' is"):
        from_json_schema(good)
    with pytest.raises(msgspec.ValidationError, match=f"parameter '{name}' is"):
        msgspec.convert({"row": {}, "parameters": {name: {"type": "string"}}}, RowSchema)
