"""Types and values in words, and the line to write where it follows from the value."""

import datetime
import json
import re
from collections.abc import Iterable
from typing import Any

from msgspec import inspect

_LONGEST = 60
_TRUTH = {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}


def shown(value: Any) -> str:
    """Return a plain value as its file says it, cut where it is long."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, datetime.date):
        return f"the date {value.isoformat()}"
    text = repr(value) if isinstance(value, str | bytes) else scalar(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def scalar(value: Any) -> str:
    """Return a scalar as YAML reads it back; text in quotes where it would be something else."""
    if value is None or isinstance(value, bool | float | int):
        return json.dumps(value)
    text = str(value)
    plain = re.sub("[_.-]", "a", text).isalnum() and text[0].isalpha()
    special = text.lower() in {*_TRUTH, "null"}
    return text if plain and not special else _in_quotes(text)


def _in_quotes(text: str) -> str:
    """Return text in double quotes; what YAML would change or refuse is escaped."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(
        each if each.isprintable() and each != "\ufeff" else f"\\U{ord(each):08x}"
        for each in quoted
    )


def expected(node: inspect.Type) -> str:
    """Return a type in words: "an integer >= 1", "text", "one of onnx, torchscript"."""
    text = _NAMES.get(type(node), "another type")
    match node:
        case inspect.Metadata():
            text = expected(node.type)
        case inspect.UnionType():
            text = " or ".join(expected(each) for each in _named(node.types))
        case inspect.IntType() | inspect.FloatType():
            text += _bounds(node)
        case inspect.StrType():
            text += _lengths(node, "characters") + _pattern(node)
        case inspect.LiteralType():
            text = "one of " + ", ".join(scalar(each) for each in node.values)
        case inspect.CollectionType():
            text = "a list" + _lengths(node, "entries")
    return text


def meant(node: inspect.Type, value: Any) -> str | None:
    """Return in YAML what was meant by a value of another type, None where nobody can know."""
    wanted = None
    match node, value:
        case inspect.UnionType(), _:
            wanted = next(filter(None, (meant(each, value) for each in node.types)), None)
        case inspect.StrType(), int() | float() if not isinstance(value, bool):
            wanted = _quoted(node, scalar(value))
        case inspect.StrType(), str() if node.pattern is not None:
            wanted = _as_name(node.pattern, value)
        case inspect.StrType(), datetime.date():
            wanted = _quoted(node, value.isoformat())
        case inspect.BoolType(), str() if value.lower() in _TRUTH:
            wanted = scalar(_TRUTH[value.lower()])
        case ((inspect.IntType() | inspect.FloatType()), str()):
            wanted = _number(node, value)
        case inspect.IntType(), float() if value.is_integer():
            wanted = str(int(value))
        case inspect.CollectionType(), str() | int() | float():
            wanted = f"[{scalar(value)}]"
    return wanted


def _quoted(node: inspect.StrType, text: str) -> str | None:
    return json.dumps(text) if node.pattern is None or re.search(node.pattern, text) else None


def _as_name(pattern: str, text: str) -> str | None:
    """Return text in the form of a name, `my-model` as `my_model`, where that form is asked for."""
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    return name if re.search(pattern, name) else None


def _number(node: inspect.IntType | inspect.FloatType, text: str) -> str | None:
    try:
        return str(int(text) if isinstance(node, inspect.IntType) else float(text))
    except ValueError:
        return None


def _named(types: Iterable[inspect.Type]) -> list[inspect.Type]:
    """Return the parts of a union worth naming: null is what a left out key is anyway."""
    parts = [each for each in types if not isinstance(each, inspect.NoneType)]
    numbers = any(isinstance(each, inspect.FloatType) for each in parts)
    return [each for each in parts if not (numbers and isinstance(each, inspect.IntType))]


def _bounds(node: inspect.IntType | inspect.FloatType) -> str:
    signs = {">": node.gt, ">=": node.ge, "<": node.lt, "<=": node.le}
    parts = [f"{sign} {_number_text(bound)}" for sign, bound in signs.items() if bound is not None]
    if node.multiple_of is not None:
        parts.append(f"a multiple of {_number_text(node.multiple_of)}")
    return " " * bool(parts) + " and ".join(parts)


def _number_text(bound: float) -> str:
    return str(int(bound)) if float(bound).is_integer() else str(bound)


def _lengths(node: Any, unit: str) -> str:
    shortest, longest = node.min_length, node.max_length
    if shortest is None and longest is None:
        return ""
    if longest is None:
        return f" of at least {shortest} {unit}"
    return f" of {shortest or 0} to {longest} {unit}"


def _pattern(node: inspect.StrType) -> str:
    return "" if node.pattern is None else " that matches " + node.pattern.replace(r"\Z", "$")


_NAMES: dict[type[inspect.Type], str] = {
    inspect.NoneType: "null",
    inspect.IntType: "an integer",
    inspect.FloatType: "a number",
    inspect.StrType: "text",
    inspect.BoolType: "true or false",
    inspect.BytesType: "base64 text",
    inspect.DictType: "a mapping",
    inspect.StructType: "a mapping",
}
