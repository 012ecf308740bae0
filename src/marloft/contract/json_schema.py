"""JSON Schemas that users write: checked against the dialect, and values against them.

The work is jsonschema's, which is imported where it is needed: workers of other types never do.
https://json-schema.org/draft/2020-12/json-schema-core
"""

from functools import lru_cache
from typing import Any

import msgspec


def faults(schema: dict[str, Any]) -> list[str]:
    """Return what is wrong with a schema, each as `.place: what`; nothing is ever fetched."""
    from jsonschema import Draft202012Validator  # noqa: PLC0415

    meta = Draft202012Validator(Draft202012Validator.META_SCHEMA)
    found = [
        f"{''.join(f'.{part}' for part in error.absolute_path)}: {error.message}; write JSON "
        "Schema 2020-12."
        for error in sorted(meta.iter_errors(schema), key=str)
    ]
    return found + [
        f": $ref {place!r} leads out of the file; write `#/$defs/…`."
        for place in _references(schema)
        if not place.startswith("#")
    ]


def fault_of(value: Any, schema: dict[str, Any]) -> str | None:
    """Return in words how a JSON value differs from what `schema` allows, None if it does not."""
    error = next(_validator(msgspec.json.encode(schema)).iter_errors(value), None)
    if error is None:
        return None
    place = "/".join(map(str, error.absolute_path))
    return f"/{place}: {error.message}" if place else str(error.message)


@lru_cache(maxsize=8)
def _validator(schema: bytes) -> Any:
    from jsonschema import Draft202012Validator  # noqa: PLC0415
    from referencing import Registry  # noqa: PLC0415

    # An empty registry: nothing is fetched for a `$ref`.
    return Draft202012Validator(msgspec.json.decode(schema), registry=Registry())


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [each for part in value.values() for each in _references(part)]
    return [each for part in value for each in _references(part)] if isinstance(value, list) else []
