"""One value of a JSON file against a bound: the check of most rows of the table."""

import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from marloft.errors import ConfigError, StepError, nearest
from marloft.files import read_json

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_IN = "in"


def expect(path: Path, place: str, relation: str, bound: str) -> str:
    """Return the value found, as text.

    Args:
        path: a JSON file.
        place: keys and indices joined by dots, such as `optimize.3.test_auc`; a last `sum` adds up
            the values of an object of numbers.
        relation: `<`, `<=`, `>`, `>=`, `==`, `!=` or `in`.
        bound: JSON, or text as it is; for `in` texts joined by commas.

    Raises:
        ConfigError: no such file, place or relation.
        StepError: the value is not as expected.
    """
    if relation not in (*_COMPARE, _IN):
        raise ConfigError(f"relation {relation!r} is unknown.{nearest(relation, (*_COMPARE, _IN))}")
    found = _look_up(read_json(path, dict[str, Any]), place, path)
    shown = msgspec.json.encode(found).decode()
    if not _holds(found, relation, bound):
        raise StepError(f"{path}: {place} is {shown}, expected {relation} {bound}.")
    return shown


def _holds(found: Any, relation: str, bound: str) -> bool:
    if relation == _IN:
        return str(found) in bound.split(",")
    try:
        wanted = msgspec.json.decode(bound)
    except msgspec.DecodeError:
        wanted = bound
    ordered = relation not in ("==", "!=")
    if ordered and (isinstance(found, bool) or not isinstance(found, int | float)):
        return False
    return _COMPARE[relation](found, wanted)


def _look_up(value: Any, place: str, path: Path) -> Any:
    for key in place.split("."):
        if key == "sum" and isinstance(value, dict) and "sum" not in value:
            return sum(value.values())
        try:
            value = value[int(key)] if isinstance(value, list) else value[key]
        except (KeyError, IndexError, ValueError, TypeError):
            known = value if isinstance(value, dict) else ()
            hint = nearest(key, known) if known else " Nothing is below it."
            raise ConfigError(f"{path}: {place}: {key!r} is not there.{hint}") from None
    return value
