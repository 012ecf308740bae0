"""What a schema says that cannot be meant: all of it, each with its place and the line to write.

These are for the YAML file of an archive. Schemas of archives packed before are not held to them.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from marloft.contract.parameters import check_length, check_names
from marloft.contract.schema.bounds import bound_faults
from marloft.contract.schema.compiled import annotation
from marloft.contract.schema.names import Unread, name_faults
from marloft.contract.schema.property import Property, RowSchema
from marloft.errors import ConfigError
from marloft.files import read_plain_yaml
from marloft.structure_errors import (
    Fault,
    Place,
    collect,
    convert,
    dotted,
    in_file_order,
    listed,
    without,
)

PAGE = "docs/schema.md"
# The keys of a schema that hold fields.
_GROUPS = ("row", "parameters")


def schema_faults(document: Any, structural: Sequence[Fault], place: Place = ()) -> list[Fault]:
    """Return every fault of a file that holds a schema: its structure's and the schema's meaning.

    Args:
        document: the whole file, as plain values.
        structural: the faults of its structure; what they are about is not looked into further.
        place: where the schema is in the file.
    """
    # What the type itself checks of a whole schema is found below again, part by part.
    kept = [fault for fault in structural if not (fault.whole and fault.place == place)]
    schema = without(document, kept)
    for step in place:
        schema = schema.get(step) if isinstance(schema, dict) else None
    found: list[Fault] = []
    for group in _GROUPS:
        fields = schema.get(group) if isinstance(schema, dict) else None
        if isinstance(fields, dict):
            at = (*place, group)
            read = _readable_fields(fields)
            found += object_faults(read, at) if group == "row" else parameter_faults(read, at)
    broken = [fault.place for fault in kept if not fault.unknown]
    meant = [
        fault
        for fault in found
        if not any(each[: len(part)] == part for part in fault.about for each in broken)
    ]
    return [*(kept if meant else structural), *meant]


def parameter_faults(parameters: Mapping[str, Property], place: Place) -> Iterator[Fault]:
    """Yield every fault of a request's parameters, which stand at `place`."""
    for name, field in parameters.items():
        at = (*place, name)
        try:
            check_names([name])
        except ValueError as error:
            yield Fault(at, f"{dotted(at)}: {error}.")
        if field.alias is not None:
            yield Fault(at, f"{dotted(at)} has an alias, which no header could say; leave it out.")
        yield from _field_faults(field, at)
    try:
        check_length(parameters)
    except ValueError as error:
        yield Fault(place, f"{dotted(place)}: {error}.")


def refusal(where: str, faults: Sequence[Fault], document: Any, schema: Place = ()) -> ConfigError:
    """Return the error that tells all faults of the file `where`, in the order of the file.

    Args:
        where: the file's name.
        faults: at least one.
        document: the whole file, as plain values.
        schema: where the schema is in it; a fault of it names the page to read.
    """
    text = f"{where}: {listed(in_file_order(faults, document))}"
    if any(fault.place[: len(schema)] == schema for fault in faults):
        text += f"{' ' if len(faults) == 1 else chr(10)}{PAGE} has every word of a schema."
    return ConfigError(text)


def read_schema(path: Path) -> RowSchema:
    """Read a YAML file with `row` and `max_rows`; raises ConfigError with all its faults."""
    document = read_plain_yaml(path)
    structural = collect(document, RowSchema)
    faults = schema_faults(document, structural)
    if faults:
        raise refusal(str(path), faults, document)
    schema: RowSchema = convert(document, RowSchema)
    return schema


def object_faults(properties: Mapping[str, Property], place: Place) -> Iterator[Fault]:
    """Yield every fault of an object's fields, which stand at `place`."""
    yield from name_faults(properties, place)
    for key, field in properties.items():
        yield from _field_faults(field, (*place, key))


def _readable_fields(fields: Mapping[str, Any]) -> dict[str, Property]:
    """Return fields that are looked into: one whose structure is told already as far as it can."""
    return {key: _readable(words) for key, words in fields.items()}


def _readable(words: Any) -> Property:
    try:
        field: Property = convert(words, Property)
        return field
    except msgspec.ValidationError:
        known = words if isinstance(words, dict) else {}
    alias = known.get("alias") if isinstance(known.get("alias"), str) else None
    if isinstance(known.get("properties"), dict):
        fields = _readable_fields(known["properties"])
        return Unread(type="object", alias=alias, properties=fields)
    if isinstance(known.get("items"), dict):
        return Unread(type="array", alias=alias, items=_readable(known["items"]))
    if isinstance(known.get("additionalProperties"), dict):
        values = _readable(known["additionalProperties"])
        return Unread(type="object", alias=alias, additional_properties=values)
    return Unread(alias=alias)


def _field_faults(field: Property, place: Place, *, is_part: bool = False) -> Iterator[Fault]:
    words: dict[str, Any] = msgspec.to_builtins(field)
    found = [*_type_faults(field, place)]
    if not found:
        found += bound_faults(field, words, place)
        found += _form_faults(field, place)
        if is_part:
            found += _part_faults(words, place)
        for part, at in _parts(field, place):
            found += _field_faults(part, at, is_part=True)
        if field.properties is not None:
            found += object_faults(field.properties, (*place, "properties"))
        found += _default_faults(field, place)
    yield from found


def _parts(field: Property, place: Place) -> Iterator[tuple[Property, Place]]:
    if field.items is not None:
        yield field.items, (*place, "items")
    if field.additional_properties is not None:
        yield field.additional_properties, (*place, "additionalProperties")


def _type_faults(field: Property, place: Place) -> Iterator[Fault]:
    words = field.type if isinstance(field.type, list) else [field.type]
    kinds = [word for word in words if word != "null"]
    at = (*place, "type")
    if not kinds:
        yield Fault(at, f"{dotted(at)} is null alone; write `type: [number, null]` or the like.")
    elif len(kinds) > 1 or len(words) > 2:
        line = f"type: [{kinds[0]}, null]" if "null" in words else f"type: {kinds[0]}"
        yield Fault(
            at,
            f"{dotted(at)} lists {', '.join(map(str, words))}; it may be one, or one and null: "
            f"write `{line}`.",
        )


def _form_faults(field: Property, place: Place) -> Iterator[Fault]:
    """Yield what an array or an object lacks."""
    where = dotted(place)
    if field.kind == "array" and field.items is None:
        text = f"{where} is an array and lacks 'items'; write `items: {{type: …}}`."
        yield Fault(place, text, about=((*place, "items"),))
    if field.kind != "object":
        return
    both = (field.properties is not None) + (field.additional_properties is not None)
    about = ((*place, "properties"), (*place, "additionalProperties"))
    if both == 0:
        yield Fault(
            place,
            f"{where} is an object and lacks its fields; write `properties: {{name: {{type: …}}}}`"
            ", or for names of any kind `additionalProperties: {type: …}`.",
            about=about,
        )
    if both == 2:
        yield Fault(
            (*place, "additionalProperties"),
            f"{where} has properties and additionalProperties; unknown names are refused, so "
            "leave one of them out.",
        )


def _part_faults(words: Mapping[str, Any], place: Place) -> Iterator[Fault]:
    """Yield what only a field of an object can have, found on the items of an array or map."""
    for word in ("alias", "default"):
        if word in words:
            at = (*place, word)
            text = f"{dotted(at)}: {word} is for fields with a name; leave it out."
            yield Fault(at, text)


def _default_faults(field: Property, place: Place) -> Iterator[Fault]:
    if not field.optional:
        return
    at = (*place, "default")
    about = tuple((*place, word) for word in ("items", "properties", "additionalProperties"))
    if not _is_json(field.default):
        text = f"{dotted(at)} holds NaN or infinity, which JSON has no word for; write another."
        yield Fault(at, text, about)
        return
    try:
        found = collect(field.default, annotation(str(place[-1]), field), at)
    except (ConfigError, TypeError, ValueError, ArithmeticError, NotImplementedError, re.error):
        # What it should be is not known, as another fault says.
        return
    for fault in found:
        hint = ""
        if field.default is None and not field.nullable:
            hint = f" To allow null, write `type: [{field.kind}, null]`."
        yield Fault(fault.place, fault.text + hint, about)


def _is_json(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_json, value.values()))
    if isinstance(value, list):
        return all(map(_is_json, value))
    return not isinstance(value, float) or math.isfinite(value)
