"""Parameters of a request beside its rows: their names, and how query and headers write them.

In a JSON body they are `"parameters": {"top_k": 5}`; query and headers hold text, which is read as
the declared type says.
"""

import keyword
import re
from collections.abc import Collection
from typing import Any

import msgspec

HEADER_PREFIX = "x-parameter-"
# The gateway refuses a longer one; longer values fit into a header or the body.
MAX_QUERY_CHARACTERS = 800
# All names are in one regular expression of the gateway's, whose size Envoy limits.
MAX_NAMES_CHARACTERS = 500

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")
# The fields of a request, and what TorchServe calls the parts of one itself.
_ENVELOPE = ("features", "user_id", "model_version", "request_id", "parameters")
_RESERVED = frozenset((*_ENVELOPE, "body", "data", "model_name"))
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?\Z")
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)\Z")
_FORMS = {
    "integer": "an integer is written as 5",
    "number": "a number is written as 0.5",
    "boolean": "a boolean is written as true or false",
    "array": 'an array is written as JSON, like ["a", "b"], percent-encoded in a query',
    "object": "an object can be sent in a JSON body only",
}


def check_names(names: Collection[str]) -> None:
    """Refuse names that a query, a header or `request.parameters.NAME` could not hold.

    Raises:
        ValueError: a name has another form, is taken, or all together are too long.
    """
    faults = [fault for name in names if (fault := _fault(name)) is not None]
    if faults:
        raise ValueError("; ".join(faults))
    check_length(names)


def check_length(names: Collection[str]) -> None:
    """Raise ValueError when the names are more than the gateway can let through one by one."""
    length = sum(map(len, names))
    if length > MAX_NAMES_CHARACTERS:
        raise ValueError(
            f"the names of the {len(names)} parameters have {length} characters together, at most "
            f"{MAX_NAMES_CHARACTERS} are allowed; shorten them, or make one an object"
        )


def header_of(name: str) -> str:
    """Return the header that a parameter may come in: `x-parameter-top-k` for `top_k`."""
    return HEADER_PREFIX + name.replace("_", "-")


def from_text(kind: str, text: str, *, nullable: bool = False) -> Any:
    """Return the value that text of a query or header stands for.

    Args:
        kind: the `type` of the parameter in its schema, null left out.
        text: the value, percent-decoded.
        nullable: whether null is a value of it, which `null` says.

    Raises:
        ValueError: the text has another form; the message goes on from the value's name.
    """
    if nullable and text == "null":
        return None
    if kind == "string":
        return text
    try:
        if _has_form(kind, text):
            return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        pass
    null = ", or null" if nullable else ""
    raise ValueError(f"is {_short(text)!r}; {_FORMS.get(kind, 'null is written as null')}{null}")


def to_text(kind: str, value: Any, *, nullable: bool = False) -> str | None:
    """Return the text that `from_text` reads as the value, None when there is none."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    try:
        return text if from_text(kind, text, nullable=nullable) == value else None
    except ValueError:
        return None


def _fault(name: str) -> str | None:
    if not _NAME.match(name) or keyword.iskeyword(name):
        return (
            f"parameter {name!r} is no name for one; write at most 63 of a-z, 0-9 and _, a letter "
            "first, no keyword of Python's, for example top_k"
        )
    if name in _RESERVED:
        taken = ", ".join(sorted(_RESERVED))
        return f"parameter {name!r} is taken ({taken}); give it another name"
    return None


def _has_form(kind: str, text: str) -> bool:
    if kind == "integer":
        return _INTEGER.match(text) is not None
    if kind == "number":
        return _NUMBER.match(text) is not None
    if kind == "boolean":
        return text in ("true", "false")
    return kind == "array" and text.startswith("[")


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:40]}…"
