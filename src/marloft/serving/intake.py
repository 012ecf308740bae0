"""Admission: what TorchServe passes to a worker becomes a valid request, or is refused."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from marloft.contract.predict_api import (
    REQUEST_ID_HEADER,
    UNIT_PATTERN,
    USER_HEADER,
    VERSION_HEADER,
    NodeEnvelope,
    ParameterEnvelope,
    ParameterNodeEnvelope,
    RequestEnvelope,
    RouteFacts,
    bare_version,
    public_version,
)
from marloft.contract.schema import (
    RowSchema,
    binary_field,
    json_name,
    row_type,
    rows_decoder,
    rows_property,
)
from marloft.serving.parameters import NO_PARAMETERS, ParameterReader
from marloft.serving.refusals import Rejected, decode_json

_ID = re.compile(UNIT_PATTERN)
_JSON = "application/json"
_WITH_PARAMETERS: dict[type[RequestEnvelope], type[RequestEnvelope]] = {
    RequestEnvelope: ParameterEnvelope,
    NodeEnvelope: ParameterNodeEnvelope,
}
E = TypeVar("E", bound=RequestEnvelope)


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A valid request: its rows, as the archive's schema decodes them, and its unit.

    `features` is the JSON that is logged: the client's own, or a description of a body of bytes.
    `parameters` has an attribute for each parameter that the schema declares.
    """

    request_id: str
    user_id: str | None
    rows: list[Any]
    features: msgspec.Raw
    parameters: Any = NO_PARAMETERS

    def column(self, name: str) -> list[Any]:
        """Return one field of every row, in request order."""
        return [getattr(row, name) for row in self.rows]


class Intake:
    """Checks requests against one archive's schema and version."""

    def __init__(
        self,
        schema: RowSchema,
        version: str,
        envelope: type[RequestEnvelope] = RequestEnvelope,
        accepts: Sequence[str] = (_JSON,),
    ) -> None:
        """Compile the decoders once.

        Args:
            schema: the archive's rows and parameters.
            version: the one this worker serves.
            envelope: the form of a body; a workflow's is a `NodeEnvelope`.
            accepts: content types of requests; a body of another type than JSON is one row, whose
                binary field it is. JSON is always read: golden requests are JSON.

        Raises:
            ConfigError: the schema has no field for bytes, but `accepts` another type than JSON.
        """
        self._binary = {kind.lower() for kind in accepts} - {_JSON}
        self._field = binary_field(schema) if self._binary else ""
        self._sent_as = json_name(self._field, schema.row[self._field]) if self._binary else ""
        self._features = rows_property(schema)
        self._version = version
        self._parameters = ParameterReader(schema) if schema.parameters else None
        form = _WITH_PARAMETERS[envelope] if schema.parameters else envelope
        self._envelope = msgspec.json.Decoder(form)
        self._known = [name for name in form.__struct_fields__ if name != "marloft"]
        self._row: Any = row_type(schema)
        self._rows = rows_decoder(schema)

    def read(
        self, row: Mapping[str, Any], headers: Mapping[str, Any], route: RouteFacts, request_id: str
    ) -> Request:
        """Return the valid request.

        Args:
            row: TorchServe's parameters of the request; `body` holds the bytes.
            headers: the request's headers, lower case.
            route: the gateway's facts about it.
            request_id: the id of a body that names none.

        Raises:
            Rejected: 400, 404, 415 or 422, with the place.
        """
        rows: list[Any] | None = None
        kind = media_type(headers)
        if kind in self._binary:
            envelope, rows = self._of_bytes(row, kind)
        elif self._binary and kind != _JSON:
            allowed = " or ".join([_JSON, *sorted(self._binary)])
            raise Rejected(f"Content-Type is {kind or 'none'}; send {allowed}.", status=415)
        else:
            envelope = read_envelope(self._envelope, row, headers, self._known)
        user_id = user_of(envelope, headers)
        pinned = pinned_of(envelope, headers)
        # Without a gateway another pinned version means that the wrong URL was called.
        if pinned is not None and route.version is None and pinned != self._version:
            raise Rejected(
                f"model_version {pinned!r} is not served here; this endpoint serves "
                f"{public_version(self._version)!r}.",
                status=404,
            )
        if rows is None:
            rows = decode_json(self._rows, envelope.features, self._features, "/features")
        parameters = NO_PARAMETERS
        if self._parameters is not None:
            given = getattr(envelope, "parameters", msgspec.UNSET)
            parameters = self._parameters.read(given, row, headers)
        return Request(
            request_id=envelope.request_id or request_id,
            user_id=user_id,
            rows=rows,
            features=_one_line(envelope.features),
            parameters=parameters,
        )

    def _of_bytes(self, row: Mapping[str, Any], kind: str) -> tuple[RequestEnvelope, list[Any]]:
        """Return the one row that the body is; the log gets its hash, since it may be large."""
        body = row.get("body", row.get("data", b""))
        # Text is `?data=…` beside no body: a parameter of the query, as far as TorchServe says.
        body = bytes(body) if isinstance(body, bytes | bytearray) else b""
        if not body:
            raise Rejected(f"The body is empty; send the bytes of {self._sent_as}.")
        sha256 = hashlib.sha256(body).hexdigest()
        described = {"content_type": kind, "bytes": len(body), "sha256": sha256}
        features = msgspec.Raw(msgspec.json.encode([{self._sent_as: described}]))
        return RequestEnvelope(features=features), [self._row(**{self._field: body})]


def media_type(headers: Mapping[str, Any]) -> str:
    """Return the request's content type in lower case and without parameters, `""` for none."""
    return str(headers.get("content-type") or "").split(";", maxsplit=1)[0].strip().lower()


def read_envelope(
    decoder: "msgspec.json.Decoder[E]",
    row: Mapping[str, Any],
    headers: Mapping[str, Any],
    known: list[str],
) -> E:
    """Return the fields of a request's body, `known` by name; its features stay raw JSON.

    Raises:
        Rejected: 400, 415 or 422, with the place.
    """
    return decode_json(decoder, json_body(row, headers), known)


def user_of(envelope: RequestEnvelope, headers: Mapping[str, Any]) -> str | None:
    """Return the unit that a request is for, as text, from its body or its header."""
    named = None if envelope.user_id is None else str(envelope.user_id)
    user_id = _agree("user_id", named, headers.get(USER_HEADER), USER_HEADER)
    if user_id is not None and not _ID.match(user_id):
        raise Rejected(f"user_id {user_id!r} does not match {UNIT_PATTERN}.", "/user_id")
    return user_id


def pinned_of(envelope: RequestEnvelope, headers: Mapping[str, Any]) -> str | None:
    """Return the version that a request asks for, without its `v`, from its body or its header."""
    named, header = envelope.model_version, headers.get(VERSION_HEADER)
    return _agree(
        "model_version",
        named and (bare_version(named) or named),
        header and (bare_version(header) or header),
        VERSION_HEADER,
    )


def request_id_of(headers: Mapping[str, Any], fallback: str) -> str:
    """Return the gateway's or client's request id when it has the allowed form, else `fallback`."""
    given = headers.get(REQUEST_ID_HEADER)
    return given if given and _ID.match(given) else fallback


def json_body(row: Mapping[str, Any], headers: Mapping[str, Any]) -> bytes:
    """Return the bytes of a JSON body; raises Rejected (415) for another content type."""
    body = row.get("body", row.get("data"))
    if media_type(headers) != _JSON or body is None:
        given = headers.get("content-type") or "none"
        raise Rejected(f"Content-Type is {given}; send {_JSON}.", status=415)
    # TorchServe decodes JSON itself unless config.properties has decode_input_request=false.
    return bytes(body) if isinstance(body, bytes | bytearray) else msgspec.json.encode(body)


def _one_line(features: msgspec.Raw) -> msgspec.Raw:
    """Keep a log record on its line: a newline in JSON is white space, strings escape theirs."""
    data = bytes(features)
    if b"\n" not in data and b"\r" not in data:
        return features
    return msgspec.Raw(data.replace(b"\n", b" ").replace(b"\r", b" "))


def _agree(field: str, body: str | None, header: str | None, header_name: str) -> str | None:
    if body is not None and header is not None and body != header:
        raise Rejected(
            f"{field} is {body!r} in the body but {header!r} in {header_name}; send one of them.",
            status=400,
        )
    return header if body is None else body
