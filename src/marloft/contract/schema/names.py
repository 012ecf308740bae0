"""Names of fields: the one that handlers use and the one that clients send."""

import keyword
import re
from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec

from marloft.contract.schema.property import Property, json_name
from marloft.structure_errors import Fault, Place, dotted

# msgspec writes names into JSON and into error paths as they are.
_UNUSABLE = re.compile(r'["\\\x00-\x1f]')


class Unread(Property, frozen=True, kw_only=True):
    """A field whose own words are faulty: its name, and the parts that can be read."""

    type: Literal["string", "array", "object"] = "string"


def is_python_name(key: str) -> bool:
    """Whether a handler can write `row.key`; names that begin with `__` are Python's own."""
    return key.isidentifier() and not keyword.iskeyword(key) and not key.startswith("__")


def python_name(name: str) -> str:
    """Return a Python name for a field that clients call `name`: `home.dest` → `home_dest`."""
    letters = "".join(each if f"a{each}".isidentifier() else " " for each in name)
    plain = "_".join(letters.split()).strip("_") or "field"
    if not plain[0].isidentifier():
        plain = f"field_{plain}"
    return f"{plain}_" if keyword.iskeyword(plain) else plain


def _words(field: Property) -> str:
    if isinstance(field, Unread):
        return "…"
    words = list(msgspec.to_builtins(field).keys() - {"type", "alias"})
    kind = f"[{field.kind}, null]" if field.nullable else field.kind
    return f"type: {kind}" + ", …" * bool(words)


def is_json_name(name: str) -> bool:
    """Whether a field may be called so in JSON."""
    return not _UNUSABLE.search(name)


def name_faults(properties: Mapping[str, Property], place: Place) -> Iterator[Fault]:
    """Yield what is wrong with the names of an object's fields, which stand at `place`."""
    first: dict[str, Place] = {}
    for key, field in properties.items():
        at = (*place, key)
        name = json_name(key, field)
        if not is_python_name(key):
            line = f"{python_name(key)}: {{{_words(field)}, alias: {name}}}"
            yield Fault(
                at,
                f"{dotted(at)}: {key!r} is no Python name, and a handler reads the field by it; "
                f"write `{line}`.",
            )
        if not is_json_name(name):
            yield Fault(
                at,
                f"{dotted(at)} is {name!r} in JSON; quotes, backslashes and control characters "
                "are not allowed: write another `alias: …`.",
            )
        if name in first:
            yield Fault(
                at,
                f"{dotted(at)} is {name!r} in JSON, as {dotted(first[name])} is; write another "
                "`alias: …`.",
            )
        first.setdefault(name, at)
