"""JSON Schemas that users write: checked against the dialect, and values against them.

The work is jsonschema's, which is imported where it is needed: workers of other types never do.
https://json-schema.org/draft/2020-12/json-schema-core
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import msgspec

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_REFERENCES = ("$ref", "$dynamicRef")


def faults(schema: dict[str, Any]) -> list[str]:
    """Return what is wrong with a schema, each as `.place: what`; nothing is ever fetched.

    A `pattern` and a `$ref` that leads around in circles can keep it busy for as long as they like:
    look into a foreign schema in a process that can be ended.
    """
    try:
        # As an archive holds it: a date of YAML is text there, `.inf` null.
        plain = msgspec.json.decode(msgspec.json.encode(schema))
        return _form_faults(plain) or _use_faults(plain)
    except RecursionError:
        return [": it is nested too deep; move parts of it to `$defs`."]
    except (TypeError, ValueError) as error:
        return [f": it is no JSON: {error}."]


def fault_of(value: Any, schema: dict[str, Any]) -> str | None:
    """Return in words how a JSON value differs from what `schema` allows, None if it does not.

    Of a schema with faults, which cannot be used, that is told instead.
    """
    try:
        error = next(_validator(msgspec.json.encode(schema)).iter_errors(value), None)
    except Exception as broken:  # noqa: BLE001 - a wrong schema makes jsonschema raise anything
        return f"the schema cannot be used: {_first_line(broken)}"
    if error is None:
        return None
    place = "/".join(map(str, error.absolute_path))
    return f"/{place}: {error.message}" if place else str(error.message)


def _form_faults(schema: dict[str, Any]) -> list[str]:
    from jsonschema import Draft202012Validator  # noqa: PLC0415

    meta = Draft202012Validator(Draft202012Validator.META_SCHEMA)
    return [
        f"{''.join(f'.{part}' for part in error.absolute_path)}: {error.message}; write JSON "
        "Schema 2020-12."
        for error in sorted(meta.iter_errors(schema), key=str)
    ]


def _use_faults(schema: dict[str, Any]) -> list[str]:
    """Return what keeps a schema of the right form from being used."""
    from referencing import Registry  # noqa: PLC0415
    from referencing.jsonschema import DRAFT202012  # noqa: PLC0415

    root = DRAFT202012.create_resource(schema)
    try:
        found = list(_part_faults(root, Registry().resolver_with_root(root)))
        looped = None if found else fault_of(None, schema)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        return [f": it cannot be read: {_first_line(error)}."]
    if looped is not None and "recursion" in looped:
        return [": a $ref leads back to itself before it says anything; let it lead to a part."]
    return found


def _part_faults(resource: Any, resolver: Any) -> Iterator[str]:
    """Yield the faults of a schema and of all that stand in it, but not of plain values in it."""
    schema = resource.contents
    if not isinstance(schema, dict):
        return
    if schema.get("$schema", DIALECT) != DIALECT:
        yield f": $schema is {schema['$schema']!r}; leave it out, or write {DIALECT}."
        return
    for word in _REFERENCES:
        if word in schema:
            yield from _reference_faults(word, schema[word], resolver)
    for pattern in (*([schema["pattern"]] if "pattern" in schema else []), *_keys(schema)):
        try:
            re.compile(pattern)
        except (re.error, OverflowError) as error:
            yield f": pattern {pattern!r} is no regular expression: {error}."
    for part in resource.subresources():
        yield from _part_faults(part, resolver.in_subresource(part))


def _keys(schema: dict[str, Any]) -> list[str]:
    return list(schema.get("patternProperties", {}))


def _reference_faults(word: str, place: str, resolver: Any) -> Iterator[str]:
    from referencing.exceptions import Unresolvable  # noqa: PLC0415

    if not place.startswith("#"):
        yield f": {word} {place!r} leads out of the file; write `#/$defs/…`."
        return
    try:
        found = resolver.lookup(place).contents
    except (Unresolvable, ValueError):
        found = None
    if not isinstance(found, dict | bool):
        yield f": {word} {place!r} leads to no schema of the file; write `#/$defs/…`."


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


@lru_cache(maxsize=8)
def _validator(schema: bytes) -> Any:
    from jsonschema import Draft202012Validator  # noqa: PLC0415
    from referencing import Registry  # noqa: PLC0415

    # An empty registry: nothing is fetched for a `$ref`.
    return Draft202012Validator(msgspec.json.decode(schema), registry=Registry())
