"""Follows a msgspec type over plain values and reports every mistake, not only the first one."""

import datetime
import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

import msgspec
from msgspec import inspect

from marloft.errors import nearest
from marloft.structure_errors.fault import Fault, Place, dotted
from marloft.structure_errors.wording import expected, meant, scalar, shown

# PyYAML makes these of a file by itself.
_YAML_TYPES = (datetime.datetime, datetime.date)
_BOUNDS = ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "pattern")
_SCALARS: dict[type[inspect.Type], type] = {
    inspect.NoneType: type(None),
    inspect.BoolType: bool,
    inspect.IntType: int,
    inspect.FloatType: float,
    inspect.StrType: str,
    inspect.BytesType: bytes,
}


def convert(value: Any, kind: Any) -> Any:
    """Return plain `value` as `kind`; raises msgspec.ValidationError at its first mistake."""
    return msgspec.convert(value, kind, builtin_types=_YAML_TYPES)


def collect(value: Any, kind: Any, place: Place = ()) -> list[Fault]:
    """Return every mistake in a plain value that should be of type `kind`, in the type's order.

    Args:
        value: what YAML or JSON gives: dict, list, str, int, float, bool, None, dates.
        kind: a type that msgspec converts to.
        place: where in its file the value is.
    """
    found = list(_faults(inspect.type_info(kind), value, place))
    return found or list(_refusal(value, kind, place))


def _refusal(value: Any, kind: Any, place: Place) -> Iterator[Fault]:
    """Let msgspec have the last word: a struct's own check, a type that the walk does not know."""
    try:
        convert(value, kind)
    except msgspec.ValidationError as error:
        text = re.sub(r" - at `.*`\Z", "", str(error))
        yield Fault(place, f"{dotted(place)}: {' '.join(text.split()).rstrip('.')}.", whole=True)


def _faults(node: inspect.Type, value: Any, place: Place, hint: str = "") -> Iterator[Fault]:
    """Yield a value's faults; `hint` says what to write instead of it, where its key knows."""
    match node, value:
        case inspect.Metadata(), _:
            yield from _faults(node.type, value, place, hint)
        case inspect.UnionType(), _:
            yield from _union(node, value, place, hint)
        case inspect.StructType(), dict():
            yield from _struct(node, value, place)
        case inspect.DictType(), dict():
            yield from _mapping(node, value, place)
        case inspect.CollectionType(), list():
            yield from _list(node, value, place)
        case _ if not _fits(node, value):
            yield _mistyped(node, value, place, hint)


def _mistyped(node: inspect.Type, value: Any, place: Place, hint: str = "") -> Fault:
    cure = hint or _cure(node, value, place)
    return Fault(place, f"{dotted(place)} is {shown(value)}, must be {expected(node)}{cure}")


def _cure(node: inspect.Type, value: Any, place: Place) -> str:
    """Return what to write, and the full stop before or after it."""
    words = [each for each in _words(node) if isinstance(each, str)]
    if isinstance(value, str) and (hint := nearest(value, words)).startswith(" Did"):
        return f".{hint}"
    if isinstance(value, bool) and _is_text(node):
        return f'; for the word, write `"{scalar(value)}"`.'
    wanted = meant(node, value)
    if wanted is None:
        return "."
    key = f"{place[-1]}: " if place and isinstance(place[-1], str) else ""
    return f"; write `{key}{wanted}`."


def _words(node: inspect.Type) -> tuple[Any, ...]:
    """Return the values that a type lists."""
    if isinstance(node, inspect.UnionType):
        return tuple(value for each in node.types for value in _words(_plain(each)))
    return tuple(node.values) if isinstance(node, inspect.LiteralType) else ()


def _is_text(node: inspect.Type) -> bool:
    parts = node.types if isinstance(node, inspect.UnionType) else (node,)
    return any(isinstance(_plain(each), inspect.StrType | inspect.LiteralType) for each in parts)


def _fits(node: inspect.Type, value: Any) -> bool:
    """Whether a value has a type's form; true where the walk does not know the type."""
    if isinstance(node, inspect.StructType | inspect.DictType):
        return isinstance(value, dict)
    if isinstance(node, inspect.LiteralType):
        return any(type(value) is type(each) and value == each for each in node.values)
    if isinstance(node, inspect.CollectionType):
        shortest, longest = node.min_length or 0, node.max_length
        long_enough = isinstance(value, list) and len(value) >= shortest
        return long_enough and (longest is None or len(value) <= longest)
    if type(node) not in _SCALARS:
        return True
    bounds: Any = {name: getattr(node, name, None) for name in _BOUNDS}
    bounds = {name: bound for name, bound in bounds.items() if bound is not None}
    try:
        convert(value, Annotated[_SCALARS[type(node)], msgspec.Meta(**bounds)])
    except msgspec.ValidationError:
        return False
    return True


def _struct(node: inspect.StructType, value: dict[Any, Any], place: Place) -> Iterator[Fault]:
    fields = {field.encode_name: field for field in node.fields}
    tag = {node.tag_field} if node.tag_field else set()
    unknown = [key for key in value if key not in fields and key not in tag]
    hints = {key: _unknown_hint(node, key, fields) for key in unknown}
    found = [
        Fault((*place, key), f"unknown key {key!r} at {dotted(place)}.{hint}", unknown=True)
        for key, hint in hints.items()
        if node.forbid_unknown_fields
    ]
    misspelt = "".join(hints.values())
    for name, field in fields.items():
        if name in value:
            hint = _value_hint(node, name, value[name])
            found += _faults(field.type, value[name], (*place, name), hint)
        elif field.required and f"Did you mean {name!r}?" not in misspelt:
            found.append(_missing(name, field.type, place))
    yield from found or _refusal(value, node.cls, place)


def _unknown_hint(node: inspect.StructType, key: Any, fields: Iterable[str]) -> str:
    """Return what to write for an unknown key; a type may know what people mean by some."""
    known: dict[Any, str] = getattr(node.cls, "UNKNOWN_KEYS", {})
    return f" {known[key]}" if key in known else nearest(str(key), fields)


def _value_hint(node: inspect.StructType, name: str, value: Any) -> str:
    """Return what to write for a value that a type knows from elsewhere, "" for any other."""
    known: dict[str, str] = getattr(node.cls, "UNKNOWN_VALUES", {}).get(name, {})
    return f"; {known[value]}" if isinstance(value, str) and value in known else ""


def _missing(name: str, node: inspect.Type, place: Place) -> Fault:
    where = dotted(place) if place else "the file"
    # Its place is the key that is not there, so that the rest of the mapping is still looked into.
    return Fault((*place, name), f"{where} lacks {name!r}; add `{name}: …`, {expected(node)}.")


def _mapping(node: inspect.DictType, value: dict[Any, Any], place: Place) -> Iterator[Fault]:
    for key, each in value.items():
        if not _fits(_plain(node.key_type), key):
            text = f"key {scalar(key)} at {dotted(place)} must be {expected(node.key_type)}"
            quoted = "" if isinstance(key, str) else f'; write `"{scalar(key)}": …`'
            yield Fault((*place, key), f"{text}{quoted}.")
        else:
            yield from _faults(node.value_type, each, (*place, key))


def _list(node: inspect.CollectionType, value: list[Any], place: Place) -> Iterator[Fault]:
    if not _fits(node, value):
        yield _mistyped(node, value, place)
    for index, each in enumerate(value):
        yield from _faults(node.item_type, each, (*place, index))


def _union(node: inspect.UnionType, value: Any, place: Place, hint: str) -> Iterator[Fault]:
    """Follow the part that the value was meant as: the one of its form with the fewest faults."""
    parts = [_plain(each) for each in node.types]
    alike = [each for each in parts if _alike(each, value)]
    tagged = [each for each in alike if isinstance(each, inspect.StructType) and each.tag_field]
    if tagged:
        yield from _tagged(tagged, value, place)
    elif alike:
        yield from min(([*_faults(each, value, place, hint)] for each in alike), key=len)
    else:
        yield _mistyped(node, value, place, hint)


def _tagged(parts: list[inspect.StructType], value: Any, place: Place) -> Iterator[Fault]:
    field = str(parts[0].tag_field)
    tags: dict[Any, inspect.StructType] = {part.tag: part for part in parts}
    choice = inspect.LiteralType(values=tuple(tags))
    if field not in value:
        yield _missing(field, choice, place)
    elif not isinstance(value[field], str) or value[field] not in tags:
        yield _mistyped(choice, value[field], (*place, field))
    else:
        yield from _struct(tags[value[field]], value, place)


def _alike(node: inspect.Type, value: Any) -> bool:
    """Whether a value has the form of a type, whatever its bounds."""
    if isinstance(node, inspect.LiteralType):
        return any(type(value) is type(each) for each in node.values)
    if isinstance(node, inspect.CollectionType):
        return isinstance(value, list)
    if isinstance(node, inspect.FloatType):
        return isinstance(value, int | float) and not isinstance(value, bool)
    if type(node) in _SCALARS:
        return type(value) is _SCALARS[type(node)]
    return _fits(node, value)


def _plain(node: inspect.Type) -> inspect.Type:
    return _plain(node.type) if isinstance(node, inspect.Metadata) else node
