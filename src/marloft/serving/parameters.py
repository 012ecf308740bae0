"""The parameters of a request, from its body, its query and its headers alike."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote_plus

import msgspec
from msgspec import Struct

from marloft.contract.parameters import HEADER_PREFIX, from_text, header_of
from marloft.contract.predict_api import QUERY_HEADER
from marloft.contract.schema import Property, RowSchema, escaped, parameters_type
from marloft.errors import nearest, shortened
from marloft.serving.refusals import Rejected, refusal_of

_BODY, _QUERY = "the body", "the query"
# What TorchServe puts next to the parameters of a query; `data` is a form's field for a body.
_TORCHSERVE_OWN = frozenset(("body", "model_name"))


class NoParameters(Struct, frozen=True):
    """What a request of an archive without parameters has."""


NO_PARAMETERS = NoParameters()


class ParameterReader:
    """Reads the parameters that one archive declares."""

    def __init__(self, schema: RowSchema) -> None:
        """Compile the type once; `schema` declares one parameter at least."""
        self._type = parameters_type(schema)
        self._declared = schema.parameters
        self._property = Property(type="object", properties=schema.parameters)
        self._required = [name for name, each in schema.parameters.items() if not each.optional]
        self._headers = {header_of(name): name for name in schema.parameters}
        self._members = msgspec.json.Decoder(dict[str, Any])

    def read(
        self,
        body: msgspec.Raw | msgspec.UnsetType,
        row: Mapping[str, Any],
        headers: Mapping[str, Any],
    ) -> Any:
        """Return an object with an attribute per declared parameter, defaults filled in.

        Args:
            body: the member `parameters` of a JSON body.
            row: TorchServe's parameters of the request, a query's among them on some of its paths.
            headers: the request's headers, lower case; one has the gateway's copy of the query.

        Raises:
            Rejected: 400 when a parameter is given twice with different values, 422 for one that
                is unknown, missing or has another type, with the place.
        """
        values: dict[str, Any] = {}
        places: dict[str, str] = {}
        for name, value, place in (
            *self._of_body(body),
            *self._of_query(row, headers),
            *self._of_headers(headers),
        ):
            if name in values and values[name] != value:
                raise Rejected(
                    f"Parameter {name!r} is {values[name]!r} in {places[name]} but {value!r} in "
                    f"{place}; send one of them.",
                    status=400,
                )
            values[name], places[name] = value, place
        for name in self._required:
            if name not in values:
                raise Rejected(f"Parameter {name!r} is missing; {self._ways(name)}.", _at(name))
        return self._checked(values, places)

    def _checked(self, values: dict[str, Any], places: Mapping[str, str]) -> Any:
        try:
            return msgspec.convert(values, self._type)
        except msgspec.ValidationError as error:
            refusal = refusal_of(error, self._property, _at(), msgspec.json.encode(values))
        name = refusal.pointer.removeprefix(_at()).partition("/")[2].partition("/")[0]
        place = places.get(name, _BODY)
        if place == _BODY:
            raise refusal
        raise Rejected(f"{refusal.detail} It came in {place}.", refusal.pointer)

    def _of_body(self, body: msgspec.Raw | msgspec.UnsetType) -> Iterator[tuple[str, Any, str]]:
        if body is msgspec.UNSET:
            return
        try:
            members = self._members.decode(body)
        except msgspec.ValidationError as error:
            raise refusal_of(error, [], _at()) from None
        for name, value in members.items():
            if name not in self._declared:
                short = shortened(name)
                raise Rejected(
                    f"Unknown parameter {short!r}.{nearest(short, self._declared)}", _at(short)
                )
            yield name, value, _BODY

    def _of_query(
        self, row: Mapping[str, Any], headers: Mapping[str, Any]
    ) -> Iterator[tuple[str, Any, str]]:
        seen: set[str] = set()
        for name, text in (*_gateways_query(headers), *_torchserves_query(row)):
            if name not in self._declared:
                raise Rejected(
                    f"Unknown query parameter {name!r}.{nearest(name, self._declared)}", _at(name)
                )
            if name in seen:
                raise Rejected(f"{name} is given twice in the query; give it once.", status=400)
            seen.add(name)
            yield name, self._value(name, text, f"{_QUERY}'s {name}"), _QUERY

    def _of_headers(self, headers: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
        for header, text in headers.items():
            if not header.startswith(HEADER_PREFIX):
                continue
            name = self._headers.get(header)
            if name is None:
                meant = header.removeprefix(HEADER_PREFIX)
                hint = nearest(header, self._headers)
                raise Rejected(f"Unknown parameter header {header!r}.{hint}", _at(meant))
            if not text.isascii():
                # Bytes of a header arrive as Latin-1: the value would silently be another one.
                raise Rejected(
                    f"Header {header} has characters that are not ASCII; send them in the query, "
                    "percent-encoded, or in the body.",
                    _at(name),
                )
            yield name, self._value(name, text, f"header {header}"), f"header {header}"

    def _value(self, name: str, text: str, what: str) -> Any:
        try:
            declared = self._declared[name]
            return from_text(declared.kind, text, nullable=declared.nullable)
        except ValueError as error:
            raise Rejected(f"{what[0].upper()}{what[1:]} {error}.", _at(name)) from None

    def _ways(self, name: str) -> str:
        body = f'send it in a JSON body as "parameters": {{"{name}": …}}'
        if self._declared[name].kind == "object":
            return body
        return f"{body}, in the query as ?{name}=…, or as header {header_of(name)}"


def _at(name: str = "") -> str:
    return f"/parameters/{escaped(name)}" if name else "/parameters"


def _gateways_query(headers: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Return the pairs of the query in the path that the gateway copied to a header."""
    query = str(headers.get(QUERY_HEADER) or "").partition("?")[2]
    for pair in query.split("&") if query else ():
        name, _, text = pair.partition("=")
        yield _decoded(name), _decoded(text)


def _torchserves_query(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Return what TorchServe made of a query, which it does for paths without a version only."""
    own = _TORCHSERVE_OWN if "body" in row else _TORCHSERVE_OWN | {"data"}
    for name, value in row.items():
        if name not in own:
            yield name, value if isinstance(value, str) else _utf8(bytes(value))


def _decoded(text: str) -> str:
    try:
        return unquote_plus(text, errors="strict")
    except UnicodeDecodeError:
        raise _not_utf8() from None


def _utf8(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise _not_utf8() from None


def _not_utf8() -> Rejected:
    return Rejected("The query is not UTF-8 when it is percent-decoded; encode it so.", _at())
