"""Where in a request a refusal is, and what is allowed there.

msgspec's paths join names by dots and leave the keys of maps out: `$[0].home.dest`, `$[0].m[...]`.
A client gets the place in full, as a JSON pointer (RFC 6901).
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from marloft.contract.schema.compiled import annotation
from marloft.contract.schema.property import Property, json_name

_END = ("", ".", "[")
_ANY_KEY = "[...]"


class RequestPlace(NamedTuple):
    """A place: its JSON pointer, the names of its fields if it is an object, its enum's values."""

    pointer: str
    fields: list[str]
    values: list[str]


def locate(root: Property, path: str, data: bytes | msgspec.Raw) -> RequestPlace:
    """Follow msgspec's path of an error through a property to its place in the request.

    Args:
        root: what the data should have been.
        path: where msgspec stopped, `$` for the data itself.
        data: the JSON text.
    """
    field, value, rest = root, _plain(data), path.removeprefix("$")
    pointer = ""
    while rest:
        step, rest, found = _step(field, value, rest)
        if found is None:
            break
        pointer += f"/{escaped(step)}"
        field, value = found, _part(value, step)
    names = [json_name(key, each) for key, each in (field.properties or {}).items()]
    values = [str(each) for each in field.enum or [] if each is not None]
    return RequestPlace(pointer, names, values)


def escaped(name: str) -> str:
    """Return a name as one step of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def _step(field: Property, value: Any, rest: str) -> tuple[str, str, Property | None]:
    """Return the next step of a path, what is left of the path, and the property there."""
    if rest.startswith(_ANY_KEY):
        part = field.additional_properties
        key = None if part is None else _refused_key(dict.fromkeys(_keys(value), part), value)
        return (key or "", rest[len(_ANY_KEY) :], None if key is None else part)
    if rest.startswith("["):
        index, _, rest = rest[1:].partition("]")
        return index, rest, field.items
    names = {json_name(key, each): each for key, each in (field.properties or {}).items()}
    fitting = [
        name
        for name in sorted(names, key=len, reverse=True)
        if rest[1:].startswith(name) and rest[1 + len(name) :][:1] in _END
    ]
    if not fitting:
        return "", rest, None
    # Of `a` with a field `b` and of `a.b`, the path is the same.
    name = fitting[0]
    if len(fitting) > 1:
        name = _refused_key({name: names[name] for name in fitting}, value) or name
    return name, rest[1 + len(name) :], names[name]


def _refused_key(fields: Mapping[str, Property], value: Any) -> str | None:
    """Return the first key whose value is refused."""
    for key, field in fields.items():
        if key in _keys(value):
            try:
                msgspec.convert(value[key], annotation(key, field))
            except msgspec.ValidationError:
                return key
    return None


def _keys(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _part(value: Any, step: str) -> Any:
    if isinstance(value, list):
        return value[int(step)] if step.isdigit() and int(step) < len(value) else None
    return _keys(value).get(step)


def _plain(data: bytes | msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # msgspec stopped before the part that is no JSON.
        return None
