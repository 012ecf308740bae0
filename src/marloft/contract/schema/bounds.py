"""Words that say nothing about a property of their type, and those that contradict each other."""

import math
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from marloft.contract.schema.property import Property
from marloft.structure_errors import Fault, Place, dotted

NUMBERS, TEXT, LISTS, OBJECTS = ("integer", "number"), ("string",), ("array",), ("object",)
# Word → the types that it is for.
WORDS: dict[str, tuple[str, ...]] = {
    "minimum": NUMBERS,
    "maximum": NUMBERS,
    "exclusiveMinimum": NUMBERS,
    "exclusiveMaximum": NUMBERS,
    "multipleOf": NUMBERS,
    "minLength": TEXT,
    "maxLength": TEXT,
    "pattern": TEXT,
    "enum": ("string", "integer"),
    "items": LISTS,
    "minItems": LISTS,
    "maxItems": LISTS,
    "properties": OBJECTS,
    "additionalProperties": OBJECTS,
    "contentEncoding": TEXT,
    "contentMediaType": TEXT,
}
# The same limit in the words of each type.
_FAMILIES = (
    {"string": "minLength", "array": "minItems"},
    {"string": "maxLength", "array": "maxItems"},
)
_BESIDE_ENUM = {word for word, kinds in WORDS.items() if kinds == NUMBERS} | {
    *("minLength", "maxLength", "pattern")
}
_INT64 = 2**63
Words = dict[str, Any]


def bound_faults(field: Property, words: Words, place: Place) -> Iterator[Fault]:
    """Yield every unused or contradictory word of one property, `words` as its file says them."""
    yield from _unused(field, words, place)
    if field.kind in NUMBERS and "enum" not in words:
        yield from _numbers(field, words, place)
    for low, high in (("minLength", "maxLength"), ("minItems", "maxItems")):
        if low in words and high in words and words[low] > words[high]:
            yield _said(
                place, high, f"is {words[high]}, below {low} {words[low]}; correct one of them"
            )
    if field.enum is not None and "enum" in words and field.kind in WORDS["enum"]:
        yield from _enum(field, place)
    if field.pattern is not None and field.kind == "string":
        yield from _pattern(field.pattern, place)


def article(kind: str) -> str:
    """Return a type as a sentence has it: "an integer", "a string"."""
    return f"an {kind}" if kind[0] in "aio" else f"a {kind}"


def _unused(field: Property, words: Words, place: Place) -> Iterator[Fault]:
    for word, kinds in WORDS.items():
        if word not in words:
            continue
        at = (*place, word)
        if field.kind not in kinds:
            of = " and ".join(f"{kind}s" for kind in kinds)
            this, cure = article(field.kind), _instead(field, word, words[word])
            yield Fault(at, f"{dotted(at)}: {word} is for {of}, and this is {this}; {cure}.")
        elif reason := _said_already(word, words):
            yield Fault(at, f"{dotted(at)}: {reason}; leave {word} out.")


def _instead(field: Property, word: str, value: Any) -> str:
    """Return what to write instead of a word that is for another type."""
    for family in _FAMILIES:
        if word in family.values() and field.kind in family:
            return f"write `{family[field.kind]}: {value}`"
    if field.items is not None and field.items.kind in WORDS[word]:
        return "write it below `items`"
    return "leave it out"


def _said_already(word: str, words: Words) -> str | None:
    """Return why a word says nothing beside another one."""
    if "contentEncoding" in words and word in ("minLength", "maxLength", "pattern", "enum"):
        return f"with contentEncoding, {word} would be of the base64 text"
    if "enum" in words and word in _BESIDE_ENUM:
        return "enum says already which values are allowed"
    if word == "contentMediaType" and "contentEncoding" not in words:
        return "without `contentEncoding: base64` the field is text and no file"
    if word.startswith("exclusive") and word[9:].lower() in words:
        return f"{word[9:].lower()} limits the same side"
    return None


def _numbers(field: Property, words: Words, place: Place) -> Iterator[Fault]:
    found = [*_each_number(field, words, place)]
    yield from found
    if found:
        return
    low, open_low = _limit(words, "minimum", "exclusiveMinimum", max)
    high, open_high = _limit(words, "maximum", "exclusiveMaximum", min)
    step = words.get("multipleOf", 1)
    if field.kind == "integer":
        least = math.floor(low) + 1 if open_low else low
        most = math.ceil(high) - 1 if open_high else high
        # No multiple lies between, where both are known.
        empty = least > most or (
            math.inf not in (-least, most) and -(-int(least) // step) * step > most
        )
    else:
        empty = low > high or (low == high and (open_low or open_high))
    if empty:
        limits = [word for word in WORDS if word in words and WORDS[word] == NUMBERS]
        said = " and ".join(f"{word} {words[word]}" for word in limits)
        yield Fault(
            (*place, limits[-1]), f"{dotted(place)}: no value has {said}; correct one of them."
        )


def _limit(
    words: Words, closed: str, opened: str, stricter: Callable[..., Any]
) -> tuple[Any, bool]:
    """Return a side's limit, and whether the limit itself is out."""
    endless = -math.inf if stricter is max else math.inf
    if opened in words:
        return words[opened], True
    return words.get(closed, endless), False


def _each_number(field: Property, words: Words, place: Place) -> Iterator[Fault]:
    for word in (word for word, kinds in WORDS.items() if kinds == NUMBERS and word in words):
        value = words[word]
        if not _is_finite(value):
            yield _said(place, word, f"is {value}, no number that JSON has; leave it out")
        elif field.kind == "integer" and value != int(value):
            line = f"{word}: {_whole(word, value)}"
            yield _said(place, word, f"is {value}, and the type is integer; write `{line}`")
        elif field.kind == "integer" and not -_INT64 < value < _INT64 - 1:
            yield from _wide(word, int(value), place)
        elif word == "multipleOf" and Decimal(str(value)) != Decimal(value):
            yield _said(
                place,
                word,
                f"is {value}, which no computer holds exactly, so that multiples of it would be "
                "refused; take a fraction of 2 such as 0.25, or send whole cents",
            )


def _wide(word: str, value: int, place: Place) -> Iterator[Fault]:
    """Whole numbers that the decoder compares with have 64 bits."""
    within = {"minimum": value == -_INT64, "maximum": value == _INT64 - 1}
    if not within.get(word, False):
        yield _said(
            place, word, f"is {value}, beyond 64 bits; allowed is {-_INT64} to {_INT64 - 1}"
        )


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _whole(word: str, value: float) -> int:
    up = word in ("minimum", "exclusiveMaximum", "multipleOf")
    return math.ceil(value) if up else math.floor(value)


def _enum(field: Property, place: Place) -> Iterator[Fault]:
    values = field.enum or []
    wanted = str if field.kind == "string" else int
    others = [value for value in values if value is not None and not isinstance(value, wanted)]
    if not [value for value in values if value is not None]:
        yield _said(place, "enum", "is empty, so that no value is allowed; list the values")
    for other in others:
        yield _said(
            place, "enum", f"holds {other!r}, and the type is {field.kind}{_retyped(other)}"
        )
    for twice in {value for value in values if values.count(value) > 1}:
        yield _said(place, "enum", f"holds {twice!r} twice; leave one out")
    for number in values:
        if isinstance(number, int) and not -_INT64 <= number < _INT64 and not others:
            yield _said(place, "enum", f"holds {number}, which is beyond 64 bits; leave it out")
    if field.nullable and None not in values:
        yield _said(place, "enum", "leaves null out, which the type allows; add null to enum")
    if None in values and not field.nullable:
        line = f"type: [{field.kind}, null]"
        yield _said(place, "enum", f"holds null, which the type does not allow; write `{line}`")


def _retyped(value: str | int) -> str:
    """Return the line with which a listed value has the other type."""
    if isinstance(value, int):
        return f'; write `"{value}"`'
    return f"; write `{value}`, without quotes" if value.lstrip("-").isdigit() else ""


def _pattern(pattern: str, place: Place) -> Iterator[Fault]:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        yield _said(place, "pattern", f"{pattern!r} is no regular expression: {error}")


def _said(place: Place, word: str, text: str) -> Fault:
    at = (*place, word)
    return Fault(at, f"{dotted(at)} {text}.")
