"""Refusals: the exception that answers one request, and what msgspec says of a body in words."""

import re
from typing import TypeVar

import msgspec

from marloft.contract.predict_api import FieldError, Problem, Refusal, json_pointer
from marloft.contract.schema import Property, escaped, locate
from marloft.errors import nearest, shortened

_UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>.*)`\Z", re.DOTALL)
_ENUM = re.compile(r"Invalid enum value '?(?P<value>.*?)'?\Z", re.DOTALL)
T = TypeVar("T")


class Rejected(Exception):  # noqa: N818 - it carries an answer; nothing failed
    """A request that is refused; raise it in `Handler.decode` to refuse one request.

    Args:
        detail: what is wrong and what is allowed.
        pointer: JSON pointer (RFC 6901) of the place in the request body, `""` for all of it.
        status: the HTTP status, 422 unless said otherwise.
    """

    def __init__(self, detail: str, pointer: str = "", status: int = 422) -> None:
        super().__init__(detail)
        self.detail = detail
        self.pointer = pointer
        self.status = status

    def problem(self, request_id: str) -> Problem:
        """Return the problem details (RFC 9457) of this refusal."""
        errors = [FieldError(pointer=self.pointer, detail=self.detail)]
        return Problem(
            title=_TITLES.get(self.status, "Request refused"),
            status=self.status,
            detail=self.detail,
            request_id=request_id,
            errors=errors if self.status == 422 else None,
        )


_TITLES = {
    400: "Bad request",
    404: "Unknown model version",
    415: "Unsupported media type",
    422: "Invalid request",
    500: "Prediction failed",
    504: "Deadline passed",
}


def refused(refusal: Refusal) -> Rejected:
    """Return the refusal that an assign node passes on."""
    return Rejected(refusal.detail, refusal.pointer, refusal.status)


def decode_json(
    decoder: "msgspec.json.Decoder[T]",
    data: bytes | msgspec.Raw,
    known: list[str] | Property,
    prefix: str = "",
) -> T:
    """Decode a body or a part of it.

    Args:
        decoder: what the data must be.
        data: JSON text.
        known: the fields of an object of which no part is refused, or what the data should be;
            for the place in full, and a hint when a field or value is unknown.
        prefix: JSON pointer of the part in the body, `""` for all of it.

    Raises:
        Rejected: 400 when the data is not JSON, 422 with the place when it is something else.
    """
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        raise refusal_of(error, known, prefix, data) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Rejected(f"The body is not JSON: {error}.", status=400) from None


def refusal_of(
    error: msgspec.ValidationError,
    known: list[str] | Property,
    prefix: str = "",
    data: bytes | msgspec.Raw = b"",
) -> Rejected:
    """Return what msgspec says of a part of a body as the refusal of it, with the place.

    `known` is as for `decode_json`; `data` is needed with a Property only.
    """
    what, at = _what_and_place(str(error))
    if isinstance(known, Property):
        place = locate(known, at, data)
        pointer, fields, values = prefix + place.pointer, place.fields, place.values
    else:
        pointer, fields, values = json_pointer(at, prefix), known, []
    unknown = _UNKNOWN.match(what)
    if unknown is not None:
        field = shortened(unknown["field"])
        text = f"Unknown field {field!r}.{nearest(field, fields)}"
        return Rejected(text, f"{pointer}/{escaped(field)}")
    value = _ENUM.match(what)
    allowed = nearest(shortened(value["value"]), values) if value and values else ""
    return Rejected(f"{shortened(what.replace('`', chr(39)))}.{allowed}", pointer)


def _what_and_place(text: str) -> tuple[str, str]:
    """Return what msgspec says and at which place; a client decides how long the text is."""
    what, found, at = text.removesuffix("`").rpartition(" - at `")
    return (what, at) if found and text.endswith("`") else (text, "$")
