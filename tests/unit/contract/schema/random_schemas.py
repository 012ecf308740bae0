"""Random schemas that say nothing contradictory, and values near what they allow."""

import string
from typing import Any

import msgspec
from hypothesis import strategies as st

from marloft.contract.schema import Property, annotation

NAMES = st.sampled_from(["age", "home_dest", "tags", "x"])
TEXT = st.text(st.sampled_from(string.ascii_lowercase + "é😀 "), max_size=5)
INTEGERS = st.integers(-20, 20)
NUMBERS = st.floats(-20, 20).map(lambda value: round(value * 4) / 4)


def _bounds(draw: st.DrawFn, values: st.SearchStrategy[Any]) -> dict[str, Any]:
    low, high = sorted((draw(values), draw(values) + 1))
    words = {
        draw(st.sampled_from(["minimum", "exclusive_minimum"])): low - 1,
        draw(st.sampled_from(["maximum", "exclusive_maximum"])): high + 1,
    }
    return {key: words[key] for key in draw(st.sets(st.sampled_from(sorted(words))))}


def _sizes(draw: st.DrawFn, what: str) -> dict[str, Any]:
    low, high = sorted((draw(st.integers(0, 4)), draw(st.integers(0, 4))))
    return {f"min_{what}": low, f"max_{what}": high} if draw(st.booleans()) else {}


@st.composite
def properties(draw: st.DrawFn, depth: int = 2) -> Property:
    """A property; its parts nest `depth` deep."""
    flat = ["integer", "number", "string", "boolean"]
    kind = draw(st.sampled_from(flat + (["array", "object", "map"] if depth else [])))
    null = draw(st.booleans())
    words: dict[str, Any] = {"type": [kind, None] if null else kind}
    match kind:
        case "integer":
            if draw(st.booleans()):
                words |= _bounds(draw, INTEGERS)
                words["multiple_of"] = draw(st.none() | st.integers(1, 3))
            else:
                words["enum"] = draw(st.lists(INTEGERS, min_size=1, unique=True)) + [None] * null
        case "number":
            words |= _bounds(draw, NUMBERS)
            words["multiple_of"] = draw(st.none() | st.sampled_from([0.5, 0.25, 2]))
        case "string":
            if draw(st.booleans()):
                words |= _sizes(draw, "length")
                words["pattern"] = draw(st.none() | st.sampled_from(["^[a-m]", "é", "z$"]))
            else:
                words["enum"] = draw(st.lists(TEXT, min_size=1, unique=True)) + [None] * null
        case "array":
            words |= _sizes(draw, "items") | {"items": draw(properties(depth - 1))}
        case "object":
            words["properties"] = draw(st.dictionaries(NAMES, _fields(depth - 1), max_size=3))
        case "map":
            words["type"] = ["object", None] if null else "object"
            words["additional_properties"] = draw(properties(depth - 1))
    return Property(**words)


@st.composite
def _fields(draw: st.DrawFn, depth: int) -> Property:
    field = draw(properties(depth))
    words = msgspec.structs.asdict(field)
    default = draw(st.just(msgspec.UNSET) | values_for(field))
    return Property(**words | {"default": default}) if _takes(field, default) else field


def _takes(field: Property, value: Any) -> bool:
    try:
        msgspec.convert(value, annotation("x", field))
    except msgspec.ValidationError:
        return False
    return True


def rows() -> st.SearchStrategy[dict[str, Property]]:
    """The fields of a row, one of them called otherwise in JSON."""
    aliased = properties().map(lambda field: msgspec.structs.replace(field, alias="a.b[0]"))
    return st.tuples(st.dictionaries(NAMES, _fields(2), max_size=3), aliased).map(
        lambda pair: {**pair[0], "other": pair[1]}
    )


def values_for(field: Property) -> st.SearchStrategy[Any]:
    """Values of a field's form, most of them within its bounds."""
    match field.kind:
        case "integer":
            found: st.SearchStrategy[Any] = INTEGERS | st.sampled_from([0, 2**53, 2**63, -(2**70)])
        case "number":
            found = INTEGERS | NUMBERS
        case "string":
            found = TEXT | st.sampled_from(["a", "bé", "abz"])
        case "boolean":
            found = st.booleans()
        case "array":
            assert field.items is not None
            parts = values_for(field.items)
            fitting = st.lists(parts, min_size=field.min_items or 0, max_size=field.max_items)
            found = fitting | st.lists(parts, max_size=5)
        case _:
            found = _objects(field)
    if field.enum:
        found = st.sampled_from(field.enum) | found
    return st.none() | found if field.nullable else found


def _objects(field: Property) -> st.SearchStrategy[Any]:
    if field.additional_properties is not None:
        return st.dictionaries(TEXT, values_for(field.additional_properties), max_size=3)
    required: dict[str, st.SearchStrategy[Any]] = {}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for key, each in (field.properties or {}).items():
        group = optional if each.optional else required
        group[each.alias or key] = values_for(each)
    return st.fixed_dictionaries(required, optional=optional)


ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | INTEGERS | NUMBERS.filter(lambda x: not x.is_integer()) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)
