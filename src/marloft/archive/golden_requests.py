"""Golden requests as a client sends them: as JSON, and as the bytes that an archive also takes."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from marloft.contract.manifest import GoldenAnswer
from marloft.contract.predict_api import REQUEST_ID_HEADER, USER_HEADER, VERSION_HEADER
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
    forms are proved; all of them, when the archive does not accept JSON.

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
    for answer in golden:
        raw = None if kind is None or schema is None else _raw_request(answer.request, kind, schema)
        if raw is not None and (raw_next or JSON_TYPE not in accepts):
            sent.append(raw)
            raw_next = False
        else:
            sent.append(json_request(msgspec.json.encode(answer.request)))
            raw_next = True
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


def _raw_request(request: dict[str, Any], kind: str, schema: RowSchema) -> HttpRequest | None:
    """Return the request as raw bytes, None when they cannot say all of it."""
    key = binary_field(schema)
    fields = {json_name(name, each): each for name, each in schema.row.items()}
    field = json_name(key, schema.row[key])
    rows = request["features"]
    others = {name: value for name, value in request.items() if name != "features"}
    if len(rows) != 1 or not rows[0].get(field) or not set(others) <= set(_HEADERS):
        return None
    if any(value != fields[name].default for name, value in rows[0].items() if name != field):
        return None
    headers = {_HEADERS[name]: str(value) for name, value in others.items() if value is not None}
    body = msgspec.convert(rows[0][field], bytes)
    # A worker refuses an empty body; as text it is a value like any other.
    return HttpRequest(headers={"content-type": kind, **headers}, body=body) if body else None
