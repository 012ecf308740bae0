"""A schema as the YAML block of an archive's file, with a comment behind each field."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from marloft.contract.schema import Property, RowSchema
from marloft.structure_errors import Place, scalar

_INDENT = "  "
_PARTS = ("items", "additionalProperties", "properties")


def schema_yaml(schema: RowSchema, comments: Mapping[Place, str], head: str) -> str:
    """Return the key `schema` of an archive's YAML file.

    Args:
        schema: what it says.
        comments: what stands behind a field, by its place below `row`.
        head: the comment above it, one line.
    """
    lines = [f"# {head}", "schema:", f"  max_rows: {schema.max_rows}", "  row:"]
    for key, field in schema.row.items():
        lines += _field_lines((key,), field, comments, _INDENT * 2)
    return "\n".join(lines) + "\n"


def _field_lines(
    place: Place, field: Property, comments: Mapping[Place, str], indent: str
) -> Iterator[str]:
    words = msgspec.to_builtins(field)
    comment = f"  # {comments[place]}" if place in comments else ""
    own = {key: value for key, value in words.items() if key not in _PARTS}
    if field.nullable:
        own["type"] = [field.kind, None]
    key = f"{indent}{scalar(place[-1])}:"
    if len(own) == len(words):
        yield f"{key} {_flow(own)}{comment}"
        return
    yield f"{key}{comment}"
    for word, value in own.items():
        yield f"{indent}{_INDENT}{word}: {_flow(value)}"
    yield from _part_lines(place, field, comments, indent + _INDENT)


def _part_lines(
    place: Place, field: Property, comments: Mapping[Place, str], indent: str
) -> Iterator[str]:
    if field.items is not None:
        yield from _field_lines((*place, "items"), field.items, comments, indent)
    if field.additional_properties is not None:
        part = field.additional_properties
        yield from _field_lines((*place, "additionalProperties"), part, comments, indent)
    if field.properties is not None:
        # Of an object without fields there is nothing to list.
        yield f"{indent}properties:" + " {}" * (not field.properties)
        for key, each in field.properties.items():
            at = (*place, "properties", key)
            yield from _field_lines(at, each, comments, indent + _INDENT)


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(key)}: {_flow(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    return scalar(value)
