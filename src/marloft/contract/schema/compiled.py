"""A schema compiled to msgspec types, which decode and check a request in one pass."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from marloft.contract.schema.property import Property, RowSchema, json_name, rows_property
from marloft.errors import ConfigError


def row_type(schema: RowSchema) -> type[Struct]:
    """Compile the schema to a msgspec Struct type that decodes and validates one row."""
    return object_type("Row", schema.row)


def parameters_type(schema: RowSchema) -> type[Struct]:
    """Compile the parameters to a msgspec Struct type, which has none when none are declared."""
    return object_type("Parameters", schema.parameters)


def rows_decoder(schema: RowSchema) -> "msgspec.json.Decoder[list[Any]]":
    """Return a decoder for `features`: a list of 1 to `max_rows` validated rows."""
    return msgspec.json.Decoder(annotation("features", rows_property(schema)))


def object_type(name: str, properties: Mapping[str, Property]) -> type[Struct]:
    """Compile the fields of an object to a Struct type whose attributes are the Python names.

    Raises:
        ConfigError: an array has no `items`, or an object neither `properties` nor
            `additionalProperties`.
        TypeError, ValueError, NotImplementedError: bounds or names that msgspec cannot hold.
    """
    fields: list[Any] = []
    for key, field in sorted(properties.items(), key=lambda item: item[1].optional):
        kind = annotation(key, field)
        fields.append((key, kind, _default(field, kind)) if field.optional else (key, kind))
    return msgspec.defstruct(
        name,
        fields,
        rename={key: json_name(key, field) for key, field in properties.items()},
        frozen=True,
        forbid_unknown_fields=True,
        gc=False,
    )


def annotation(name: str, field: Property) -> Any:
    """Return the type of one field's values; raises as `object_type` does."""
    kind = _not_null(name, field)
    return kind | None if field.nullable else kind


def binary_field(schema: RowSchema) -> str:
    """Return the field that a body which is not JSON fills, as the only one of its one row.

    Raises:
        ConfigError: not exactly one field is `contentEncoding: base64`, or another one has no
            default and would stay empty.
    """
    binary = [name for name, each in schema.row.items() if each.content_encoding is not None]
    if len(binary) != 1:
        raise ConfigError(
            f"schema: {len(binary)} fields have `contentEncoding: base64`; a content type other "
            "than application/json needs exactly one, which takes the body."
        )
    for name, each in schema.row.items():
        if name != binary[0] and not each.optional:
            raise ConfigError(
                f"schema: field {name!r} has no `default`; a body that is not JSON fills "
                f"{binary[0]!r} alone."
            )
    return binary[0]


def _not_null(name: str, field: Property) -> Any:
    match field.kind:
        case "string":
            return _text(name, field)
        case "integer":
            return _integer(field)
        case "number":
            return _bounded(float, field)
        case "boolean":
            return bool
        case "array":
            return _list(name, field)
        case "object":
            return _object(name, field)
    raise ConfigError(f"schema: the type of {name!r} is null alone; it needs another one.")


def _text(name: str, field: Property) -> Any:
    if field.content_encoding is not None:
        if (field.enum, field.min_length, field.max_length, field.pattern) != (None,) * 4:
            raise ConfigError(
                f"schema: {name!r} has `contentEncoding`, so pattern, enum, minLength and "
                "maxLength would be of its base64 text; leave them out."
            )
        return bytes
    if field.enum is not None:
        return Literal[tuple(field.enum)]
    return Annotated[
        str,
        Meta(min_length=field.min_length, max_length=field.max_length, pattern=field.pattern),
    ]


def _integer(field: Property) -> Any:
    # Archives of before could hold strings here, which nothing looked at.
    if field.enum and not any(isinstance(value, str) for value in field.enum):
        return Literal[tuple(field.enum)]
    return _bounded(int, field)


def _bounded(kind: type[int] | type[float], field: Property) -> Any:
    words = {
        "ge": field.minimum,
        "le": field.maximum,
        "gt": field.exclusive_minimum,
        "lt": field.exclusive_maximum,
        "multiple_of": field.multiple_of,
    }
    bounds: Any = {word: kind(value) for word, value in words.items() if value is not None}
    return Annotated[kind, Meta(**bounds)]


def _list(name: str, field: Property) -> Any:
    if field.items is None:
        raise ConfigError(f"schema: array field {name!r} needs `items`.")
    item: Any = annotation(name, field.items)
    # In archives of before, the length of an array was minLength and maxLength.
    shortest = field.min_length if field.min_items is None else field.min_items
    longest = field.max_length if field.max_items is None else field.max_items
    return Annotated[list[item], Meta(min_length=shortest, max_length=longest)]


def _object(name: str, field: Property) -> Any:
    if field.properties is not None:
        return object_type(name, field.properties)
    if field.additional_properties is None:
        raise ConfigError(f"schema: object field {name!r} needs `properties`.")
    value: Any = annotation(name, field.additional_properties)
    return dict[str, value]


def _default(field: Property, kind: Any) -> Any:
    """Return a default as a handler gets it; each row gets its own of what can be changed."""
    try:
        value = msgspec.convert(field.default, kind)
    except msgspec.ValidationError:
        # Archives of before hold defaults that nothing checked.
        return field.default
    if isinstance(value, list | dict | Struct):
        return msgspec.field(default_factory=lambda: msgspec.convert(field.default, kind))
    return value
