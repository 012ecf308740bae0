"""Golden requests as a client sends them: as JSON, and as the bytes that an archive also takes."""

from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from marloft.contract.manifest import GoldenAnswer
from marloft.contract.parameters import MAX_QUERY_CHARACTERS, header_of, to_text
from marloft.contract.predict_api import (
    QUERY_HEADER,
    REQUEST_ID_HEADER,
    USER_HEADER,
    VERSION_HEADER,
)
from marloft.contract.schema import RowSchema, binary_field, json_name

JSON_TYPE = "application/json"
_HEADERS = {
    "user_id": USER_HEADER,
    "model_version": VERSION_HEADER,
    "request_id": REQUEST_ID_HEADER,
}


class HttpRequest(Struct, frozen=True, kw_only=True):
    """One request: its headers, names in lower case, and its body."""

    headers: dict[str, str]
    body: bytes


def http_requests(
    golden: Sequence[GoldenAnswer], accepts: Sequence[str], schema: RowSchema | None
) -> list[HttpRequest]:
    """Return each golden request in a form that the archive accepts.

    `golden.jsonl` is JSON throughout. A request of one row that holds nothing but the bytes can be
    sent as a raw body too: of those every other one is, the first one among them, so that both
    forms are proved; all of them, when the archive does not accept JSON. The parameters beside a
    raw body are sent as a query and as headers in turn; the query is in the header that the gateway
    copies it to, since TorchServe drops it.

    Args:
        golden: the answers of `golden.jsonl`.
        accepts: the content types of the archive.
        schema: its rows; None for code that reads its bodies itself.

    Raises:
        ConfigError: another type than JSON is accepted, and the schema has no field to take it.
    """
    kind = None if schema is None else raw_type(accepts, schema)
    sent: list[HttpRequest] = []
    raw_next = True
    in_query = cycle((True, False))
    for answer in golden:
        raw = None
        if kind is not None and schema is not None and (raw_next or JSON_TYPE not in accepts):
            raw = _raw_request(answer.request, kind, schema, in_query)
        sent.append(raw or json_request(msgspec.json.encode(answer.request)))
        raw_next = raw is None
    return sent


def json_request(body: bytes) -> HttpRequest:
    """Return a request whose body is said to be JSON."""
    return HttpRequest(headers={"content-type": JSON_TYPE}, body=body)


def raw_type(accepts: Sequence[str], schema: RowSchema) -> str | None:
    """Return the content type of a raw body: the field's own if it is accepted, else the first.

    None when only JSON is accepted.

    Raises:
        ConfigError: another type is, and the schema has no field to take it.
    """
    others = [each.lower() for each in accepts if each.lower() != JSON_TYPE]
    if not others:
        return None
    own = schema.row[binary_field(schema)].content_media_type
    return own if own in others else others[0]


def _raw_request(
    request: dict[str, Any], kind: str, schema: RowSchema, in_query: Iterator[bool]
) -> HttpRequest | None:
    """Return the request as raw bytes, None when they cannot say all of it."""
    key = binary_field(schema)
    fields = {json_name(name, each): each for name, each in schema.row.items()}
    field = json_name(key, schema.row[key])
    rows = request["features"]
    parameters = _texts(request.get("parameters", {}), schema)
    others = {k: value for k, value in request.items() if k not in ("features", "parameters")}
    if parameters is None or len(rows) != 1 or not rows[0].get(field):
        return None
    if not set(others) <= set(_HEADERS):
        return None
    if any(value != fields[name].default for name, value in rows[0].items() if name != field):
        return None
    headers = {_HEADERS[name]: str(value) for name, value in others.items() if value is not None}
    body = msgspec.convert(rows[0][field], bytes)
    # A worker refuses an empty body; as text it is a value like any other.
    if not body:
        return None
    if parameters:
        headers |= _sent_parameters(parameters, first_in_query=next(in_query))
    return HttpRequest(headers={"content-type": kind, **headers}, body=body)


def _texts(parameters: dict[str, Any], schema: RowSchema) -> dict[str, str] | None:
    """Return the parameters as text, None when one has a value that only JSON can say."""
    texts: dict[str, str] = {}
    for name, value in parameters.items():
        declared = schema.parameters[name]
        text = to_text(declared.kind, value, nullable=declared.nullable)
        if text is None:
            return None
        texts[name] = text
    too_long = len(urlencode(texts)) > MAX_QUERY_CHARACTERS
    return None if too_long else texts


def _sent_parameters(texts: dict[str, str], *, first_in_query: bool) -> dict[str, str]:
    """Return the headers that carry them: one with the query, or one for each parameter."""
    if first_in_query or not all(map(_fits_header, texts.values())):
        return {QUERY_HEADER: f"?{urlencode(texts)}"}
    return {header_of(name): text for name, text in texts.items()}


def _fits_header(text: str) -> bool:
    return text.isascii() and text.isprintable() and text == text.strip() != ""
