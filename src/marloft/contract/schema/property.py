"""The words of a schema: what one field may be, and the fields of a row.

They are JSON Schema 2020-12's own and mean what they mean there; docs/schema.md has each of them.
https://json-schema.org/draft/2020-12/json-schema-validation
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta, Struct

from marloft.contract.parameters import check_names

Kind = Literal["integer", "number", "string", "boolean", "array", "object", "null"]
Number = int | float
Step = Annotated[int, Meta(gt=0)] | Annotated[float, Meta(gt=0)]
Length = Annotated[int, Meta(ge=0)]


class Property(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One field, in JSON Schema's own words.

    A string with `contentEncoding: base64` is decoded: a handler gets its bytes. `alias` is the
    field's name in JSON where its key is no Python name, or another one. A property without
    `default` is required. A `type` of two, one of them null, allows null.
    """

    type: Kind | list[Kind | None]
    description: str | None = None
    minimum: Number | None = None
    maximum: Number | None = None
    exclusive_minimum: Number | None = msgspec.field(default=None, name="exclusiveMinimum")
    exclusive_maximum: Number | None = msgspec.field(default=None, name="exclusiveMaximum")
    multiple_of: Step | None = msgspec.field(default=None, name="multipleOf")
    min_length: Length | None = msgspec.field(default=None, name="minLength")
    max_length: Length | None = msgspec.field(default=None, name="maxLength")
    pattern: str | None = None
    enum: list[str | int | None] | None = None
    items: "Property | None" = None
    min_items: Length | None = msgspec.field(default=None, name="minItems")
    max_items: Length | None = msgspec.field(default=None, name="maxItems")
    properties: "dict[str, Property] | None" = None
    additional_properties: "Property | None" = msgspec.field(
        default=None, name="additionalProperties"
    )
    content_encoding: Literal["base64"] | None = msgspec.field(default=None, name="contentEncoding")
    content_media_type: str | None = msgspec.field(default=None, name="contentMediaType")
    alias: str | None = None
    default: Any = msgspec.UNSET

    # What people know from elsewhere → what to write here instead.
    UNKNOWN_KEYS: ClassVar[Mapping[str, str]] = {
        "nullable": "Write null into the type: `type: [number, null]`.",
        "optional": "A property with a default is optional: write `default: …`.",
        "required": "A property without a default is required: leave `required` out.",
        "const": "Write `enum: […]` with the one value.",
        "format": "Formats are not checked: write `pattern: …`, or say it in `description: …`.",
        "min": "Did you mean 'minimum'?",
        "max": "Did you mean 'maximum'?",
        "values": "Did you mean 'enum'?",
    }

    # Types of other languages that no word of ours resembles.
    UNKNOWN_VALUES: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "type": {
            **dict.fromkeys(("float", "double"), "write `type: number`."),
            "text": "write `type: string`.",
            "enum": "write `type: string, enum: […]`.",
            "list": "write `type: array, items: {type: …}`.",
            **dict.fromkeys(("dict", "map"), "write `type: object, properties: {…}`."),
            "bytes": "write `type: string, contentEncoding: base64`.",
            **dict.fromkeys(
                ("date", "datetime"), "JSON has none: write `type: string`, with a `pattern: …`."
            ),
        }
    }

    def __post_init__(self) -> None:
        """Write the type in one way: YAML's bare null is "null", which stands last."""
        if isinstance(self.type, list):
            words = ["null" if word is None else word for word in self.type]
            words.sort(key=lambda word: word == "null")
            msgspec.structs.force_setattr(self, "type", words[0] if len(words) == 1 else words)

    @property
    def kind(self) -> Kind:
        """The type without null; "null" when there is no other."""
        words = self.type if isinstance(self.type, list) else [self.type]
        return words[0] or "null" if words else "null"

    @property
    def nullable(self) -> bool:
        """Whether null is a value of it."""
        return isinstance(self.type, list) and "null" in self.type

    @property
    def optional(self) -> bool:
        """Whether a client may leave it out."""
        return self.default is not msgspec.UNSET


class RowSchema(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fields of one candidate row and how many rows a request may carry.

    `parameters` are the fields that a request has once, beside its rows.
    """

    row: dict[str, Property]
    max_rows: Annotated[int, Meta(ge=1)] = 500
    parameters: dict[str, Property] = {}

    def __post_init__(self) -> None:
        """Refuse names of parameters that a query, a header or Python could not hold."""
        check_names(self.parameters)
        for name, each in self.parameters.items():
            if each.alias is not None:
                raise ValueError(
                    f"parameter {name!r} has an alias, which no header could say; leave it out"
                )


def json_name(key: str, field: Property) -> str:
    """Return what a client calls the field that handlers call `key`."""
    return key if field.alias is None else field.alias


def rows_property(schema: RowSchema) -> Property:
    """Return `features` as one property: 1 to `max_rows` objects."""
    row = Property(type="object", properties=schema.row)
    return Property(type="array", items=row, min_items=1, max_items=schema.max_rows)
