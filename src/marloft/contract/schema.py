"""The row schema of an archive: a documented subset of JSON Schema 2020-12, compiled for speed.

The vocabulary: `type` (integer, number, string, boolean, array), `minimum`, `maximum`,
`minLength`, `maxLength`, `enum` (strings), `items`, `default`, `contentEncoding` (base64) and
`contentMediaType` of strings that stand for bytes. A property without `default` is required; an
unknown property is refused.
https://json-schema.org/draft/2020-12/json-schema-validation
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from marloft.errors import ConfigError

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class Property(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One field of a row, in JSON Schema's own words.

    A string with `contentEncoding: base64` is decoded: a handler gets its bytes.
    """

    type: Literal["integer", "number", "string", "boolean", "array"]
    description: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    min_length: int | None = msgspec.field(default=None, name="minLength")
    max_length: int | None = msgspec.field(default=None, name="maxLength")
    enum: list[str] | None = None
    items: "Property | None" = None
    content_encoding: Literal["base64"] | None = msgspec.field(default=None, name="contentEncoding")
    content_media_type: str | None = msgspec.field(default=None, name="contentMediaType")
    default: Any = msgspec.UNSET


class RowSchema(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields of one candidate row and how many rows a request may carry."""

    row: dict[str, Property]
    max_rows: Annotated[int, Meta(ge=1)] = 500


def to_json_schema(schema: RowSchema) -> dict[str, Any]:
    """Return the `features` member of a request as a JSON Schema document (`schema.json`)."""
    properties = msgspec.to_builtins(schema.row)
    # Sorted as `properties` are when they are written: the document reads back as itself.
    required = sorted(name for name, each in schema.row.items() if not _has_default(each))
    return {
        "$schema": DIALECT,
        "type": "array",
        "minItems": 1,
        "maxItems": schema.max_rows,
        "items": {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        },
    }


def from_json_schema(document: dict[str, Any]) -> RowSchema:
    """Read back what `to_json_schema` wrote; raises ConfigError for anything else."""
    try:
        row = msgspec.convert(document["items"]["properties"], dict[str, Property])
        return RowSchema(row=row, max_rows=document["maxItems"])
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise ConfigError(f"schema.json is not a marloft row schema: {error}") from None


def row_type(schema: RowSchema) -> type[Struct]:
    """Compile the schema to a msgspec Struct type that decodes and validates one row."""
    fields: list[Any] = []
    for name, field in sorted(schema.row.items(), key=lambda item: _has_default(item[1])):
        annotation = _annotation(name, field)
        fields.append(
            (name, annotation, field.default) if _has_default(field) else (name, annotation)
        )
    return msgspec.defstruct("Row", fields, frozen=True, forbid_unknown_fields=True, gc=False)


def rows_decoder(schema: RowSchema) -> "msgspec.json.Decoder[list[Any]]":
    """Return a decoder for `features`: a list of 1 to `max_rows` validated rows."""
    row: Any = row_type(schema)
    rows: Any = Annotated[list[row], Meta(min_length=1, max_length=schema.max_rows)]
    return msgspec.json.Decoder(rows)


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
        if name != binary[0] and not _has_default(each):
            raise ConfigError(
                f"schema: field {name!r} has no `default`; a body that is not JSON fills "
                f"{binary[0]!r} alone."
            )
    return binary[0]


def _has_default(field: Property) -> bool:
    return field.default is not msgspec.UNSET


def _annotation(name: str, field: Property) -> Any:
    if field.type == "string":
        return _text(name, field)
    if field.type == "array":
        if field.items is None:
            raise ConfigError(f"schema: array field {name!r} needs `items`.")
        item: Any = _annotation(name, field.items)
        return Annotated[list[item], Meta(min_length=field.min_length, max_length=field.max_length)]
    if field.type == "boolean":
        return bool
    if field.type == "number":
        return Annotated[float, Meta(ge=field.minimum, le=field.maximum)]
    return Annotated[int, Meta(ge=_whole(field.minimum), le=_whole(field.maximum))]


def _text(name: str, field: Property) -> Any:
    if field.content_encoding is None:
        if field.enum is not None:
            return Literal[tuple(field.enum)]
        return Annotated[str, Meta(min_length=field.min_length, max_length=field.max_length)]
    if (field.enum, field.min_length, field.max_length) != (None, None, None):
        raise ConfigError(
            f"schema: {name!r} has `contentEncoding`, so enum, minLength and maxLength would be of "
            "its base64 text; leave them out."
        )
    return bytes


def _whole(bound: float | None) -> int | None:
    return None if bound is None else int(bound)
