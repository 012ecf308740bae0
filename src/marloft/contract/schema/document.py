"""A schema as a JSON Schema 2020-12 document, and back: `schema.json` of an archive."""

from collections.abc import Mapping
from typing import Any

import msgspec

from marloft.contract.schema.property import Property, RowSchema, json_name, rows_property
from marloft.errors import ConfigError

DIALECT = "https://json-schema.org/draft/2020-12/schema"
# An annotation for the handler's side; validators pass over it.
PYTHON_NAME = "x-python-name"
_FIRST_BOUNDS = ("minimum", "maximum")
_EXACT = 2**53
_PARAMETERS = "parameters"
Json = dict[str, Any]


def to_json_schema(schema: RowSchema) -> Json:
    """Return the `features` member of a request as a JSON Schema document (`schema.json`)."""
    document: Json = {"$schema": DIALECT} | property_document(rows_property(schema))
    if schema.parameters:
        object_ = Property(type="object", properties=schema.parameters)
        document["$defs"] = {_PARAMETERS: property_document(object_)}
    return document


def parameters_schema(document: Json) -> Json | None:
    """Return the JSON Schema of a request's `parameters` in a `schema.json`, None without one."""
    found: Json | None = document.get("$defs", {}).get(_PARAMETERS)
    return found


def property_document(field: Property) -> Json:
    """Return one property, its own properties keyed by the names that clients use."""
    words: Json = msgspec.to_builtins(field)
    words.pop("alias", None)
    for bound in _FIRST_BOUNDS:
        # 0 is written 0.0 as it always was, so that packing again gives the same bytes.
        if isinstance(words.get(bound), int) and abs(words[bound]) <= _EXACT:
            words[bound] = float(words[bound])
    if field.items is not None:
        words["items"] = property_document(field.items)
    if field.additional_properties is not None:
        words["additionalProperties"] = property_document(field.additional_properties)
    if field.properties is not None:
        words |= object_document(field.properties)
    return words | {"type": field.type}


def object_document(properties: Mapping[str, Property]) -> Json:
    """Return an object of these fields, keyed by the names that clients use."""
    fields: Json = {}
    for key, field in properties.items():
        name = json_name(key, field)
        fields[name] = property_document(field) | ({} if name == key else {PYTHON_NAME: key})
    # Sorted as `properties` are when they are written: the document reads back as itself.
    required = sorted(json_name(key, each) for key, each in properties.items() if not each.optional)
    return {
        "type": "object",
        "properties": fields,
        "required": required,
        "additionalProperties": False,
    }


def from_json_schema(document: Json) -> RowSchema:
    """Read back what `to_json_schema` wrote; raises ConfigError for anything else."""
    try:
        described = parameters_schema(document)
        parameters = {} if described is None else object_fields(described)
        row = object_fields(document["items"])
        return RowSchema(row=row, max_rows=document["maxItems"], parameters=parameters)
    except (AttributeError, KeyError, TypeError, ValueError, msgspec.ValidationError) as error:
        raise ConfigError(f"schema.json is not a marloft row schema: {error}") from None


def object_fields(document: Json) -> dict[str, Property]:
    """Read the fields back that `object_document` wrote.

    Raises:
        AttributeError, KeyError, TypeError, msgspec.ValidationError: it is another document.
    """
    return msgspec.convert(_fields(document["properties"]), dict[str, Property])


def _fields(properties: Json) -> Json:
    """Return the properties of an object, keyed by the names that handlers use."""
    fields: Json = {}
    for name, document in properties.items():
        words = _words(document)
        key = words.pop(PYTHON_NAME, name)
        fields[key] = words if key == name else words | {"alias": name}
    return fields


def _words(document: Json) -> Json:
    words = dict(document)
    if "items" in words:
        words["items"] = _words(words["items"])
    if "properties" in words:
        words["properties"] = _fields(words["properties"])
        # Both follow from the properties.
        words.pop("required", None)
        words.pop("additionalProperties", None)
    elif "additionalProperties" in words:
        words["additionalProperties"] = _words(words["additionalProperties"])
    return words
