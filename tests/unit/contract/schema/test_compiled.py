"""What a handler gets for each kind of field, and what archives packed before still mean."""

from typing import Any

import msgspec
import pytest

from marloft.contract.schema import (
    Property,
    RowSchema,
    binary_field,
    from_json_schema,
    parameters_type,
    row_type,
    rows_decoder,
)
from marloft.errors import ConfigError

INTEGER, TEXT = Property(type="integer"), Property(type="string")


def decoded(field: Property, value: Any) -> Any:
    return (
        rows_decoder(RowSchema(row={"x": field})).decode(msgspec.json.encode([{"x": value}]))[0].x
    )


@pytest.mark.parametrize(
    ("field", "sent", "got"),
    [
        (INTEGER, 7, 7),
        (Property(type="number"), 7, 7.0),
        (Property(type=["number", "null"]), None, None),
        (Property(type=["boolean", None]), True, True),
        (Property(type="string", enum=["a", "b"]), "b", "b"),
        (Property(type=["integer", None], enum=[1, 2, None]), None, None),
        (Property(type="array", items=INTEGER), [1, 2], [1, 2]),
        (Property(type="object", additional_properties=INTEGER), {"a b": 1}, {"a b": 1}),
        (Property(type="string", content_encoding="base64"), "aGk=", b"hi"),
        (Property(type="array", items=Property(type="string", content_encoding="base64")),
         ["aGk="], [b"hi"]),
    ],
)  # fmt: skip
def test_value_is_this_in_python(field: Property, sent: Any, got: Any) -> None:
    value = decoded(field, sent)
    assert (type(value), value) == (type(got), got)


def test_object_has_attributes_under_its_python_names() -> None:
    home = Property(type="object", properties={"zip_code": Property(type="string", alias="zip.x")})
    value = decoded(home, {"zip.x": "8000"})
    assert value.zip_code == "8000"


@pytest.mark.parametrize(
    ("field", "sent"),
    [
        (Property(type="integer", exclusive_minimum=1), 1),
        (Property(type="integer", exclusive_maximum=1), 1),
        (Property(type="number", multiple_of=0.5), 0.7),
        (Property(type="string", pattern="^a"), "ba"),
        (Property(type="array", items=INTEGER, min_items=1), []),
        (Property(type="array", items=INTEGER, max_items=1), [1, 2]),
        (Property(type="array", items=Property(type="integer", minimum=3)), [2]),
        (Property(type="object", properties={"a": INTEGER}), {}),
        (Property(type="object", properties={"a": INTEGER}), {"a": 1, "b": 1}),
        (Property(type="object", additional_properties=INTEGER), {"a": "1"}),
        (Property(type="integer", enum=[1, 2]), 3),
        (INTEGER, None),
        (INTEGER, True),
        (INTEGER, 1.0),
    ],
)
def test_value_is_refused(field: Property, sent: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        decoded(field, sent)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (Property(type="number", default=0), 0.0),
        (Property(type=["number", None], default=None), None),
        (Property(type="array", items=INTEGER, default=[1, 2]), [1, 2]),
        (Property(type="object", additional_properties=INTEGER, default={"a": 1}), {"a": 1}),
        (Property(type="string", content_encoding="base64", default="aGk="), b"hi"),
    ],
)
def test_default_is_what_a_handler_gets(field: Property, value: Any) -> None:
    (row,) = rows_decoder(RowSchema(row={"x": field})).decode(b"[{}]")
    assert (type(row.x), row.x) == (type(value), value)


def test_each_row_has_a_default_of_its_own() -> None:
    inner = Property(
        type="object",
        properties={"tags": Property(type="array", items=TEXT)},
        default={"tags": ["a"]},
    )
    row = RowSchema(row={"x": inner, "y": Property(type="array", items=INTEGER, default=[1])})
    first, second = rows_decoder(row).decode(b"[{}, {}]")
    first.x.tags.append("b")
    first.y.append(2)
    assert (second.x.tags, second.y) == (["a"], [1])


def test_nested_default_is_filled_in() -> None:
    inner = Property(type="object", properties={"a": Property(type="integer", default=3)})
    assert decoded(inner, {}).a == 3


def test_row_is_made_by_its_python_names() -> None:
    row: Any = row_type(RowSchema(row={"a_b": Property(type="integer", alias="a.b")}))
    assert row(a_b=1).a_b == 1


@pytest.mark.parametrize(
    ("field", "words"),
    [
        (Property(type="array"), "'x' needs `items`"),
        (Property(type="object"), "'x' needs `properties`"),
        (Property(type="null"), "null alone"),
        (Property(type="string", content_encoding="base64", pattern="a"), "its base64 text"),
    ],
)
def test_what_cannot_be_compiled_is_refused(field: Property, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        row_type(RowSchema(row={"x": field}))


def test_field_of_bytes_is_the_only_one_a_body_needs() -> None:
    image = Property(type="string", content_encoding="base64")
    assert binary_field(RowSchema(row={"image": image})) == "image"
    with pytest.raises(ConfigError, match="'size' has no `default`"):
        binary_field(RowSchema(row={"image": image, "size": INTEGER}))


def earlier(words: dict[str, Any]) -> RowSchema:
    """A `schema.json` as an archive packed before holds it."""
    row = {"properties": {"x": words}, "required": ["x"], "additionalProperties": False}
    items = {"type": "object", **row}
    return from_json_schema({"type": "array", "minItems": 1, "maxItems": 9, "items": items})


@pytest.mark.parametrize(
    ("words", "good", "bad"),
    [
        ({"type": "array", "items": {"type": "integer"}, "minLength": 1, "maxLength": 2}, [1], []),
        ({"type": "integer", "minimum": 0.5}, 0, -1),
        ({"type": "integer", "enum": ["a"]}, 5, "a"),
        ({"type": "string", "minimum": 3.0, "maxLength": 2}, "ab", "abc"),
    ],
)
def test_archive_of_before_means_what_it_meant(words: dict[str, Any], good: Any, bad: Any) -> None:
    decoder = rows_decoder(earlier(words))
    assert decoder.decode(msgspec.json.encode([{"x": good}]))[0].x == good
    with pytest.raises(msgspec.ValidationError):
        decoder.decode(msgspec.json.encode([{"x": bad}]))


def test_default_of_before_that_nothing_checked_stays() -> None:
    decoder = rows_decoder(earlier({"type": "number", "default": "none"}))
    assert decoder.decode(b"[{}]")[0].x == "none"


def test_compiled_parameters_have_their_defaults() -> None:
    top_k = Property(type="integer", minimum=1, default=10)
    compiled: Any = parameters_type(RowSchema(row={}, parameters={"top_k": top_k}))
    assert compiled().top_k == 10
    assert parameters_type(RowSchema(row={})).__struct_fields__ == ()
