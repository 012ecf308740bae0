"""The few terms of Envoy's configuration that the gateway's files share: names and matchers."""

import re
from collections.abc import Sequence
from typing import Any

from marloft.contract.predict_api import ROUTE_HEADER, UNIT_PATTERN
from marloft.deploy.ports import LOOPBACK

Json = dict[str, Any]

ROUTE_CONFIG = "marloft"
UPSTREAM = "torchserve"
CUSTOM_RESPONSE = "envoy.filters.http.custom_response"
READ_BODY = "envoy.filters.http.json_to_metadata"
UNIT_HEADER = f"{ROUTE_HEADER}-unit"
PATH_VERSION_HEADER = f"{ROUTE_HEADER}-v"
ARM_HEADER = f"{ROUTE_HEADER}-arm"
METADATA = "marloft"
MALFORMED = "malformed"
JSON_TYPE = "application/json"

EXTENSION = "type.googleapis.com/envoy.extensions."

PRESENT: Json = {"present_match": True}
# RE2 has no \Z; Envoy's regex matchers always match the whole value.
UNIT_REGEX = UNIT_PATTERN.removeprefix("^").removesuffix(r"\Z")
HAS_QUERY_REGEX = r"[^?]*\?.*"
# Routes whose refusals are passed on as they are, among what Envoy itself answers 400 to.
REFUSED_QUERY, REFUSED_JSON = "refused-query", "refused-json"


def extension(name: str, kind: str, **fields: object) -> Json:
    """Return a filter or another extension of Envoy's; `kind` is its type below `extensions`."""
    return {"name": name, "typed_config": {"@type": EXTENSION + kind, **fields}}


def has_form(regex: str) -> Json:
    """Return a StringMatcher that wants the whole value to match `regex` (RE2)."""
    return {"safe_regex": {"regex": regex}}


def metadata_matcher(key: str, value: Json, *, invert: bool = False) -> Json:
    """Return a matcher on a body field that was copied to the request's dynamic metadata."""
    return {"filter": METADATA, "path": [{"key": key}], "value": value, "invert": invert}


def set_header(name: str, value: str, action: str = "OVERWRITE_IF_EXISTS_OR_ADD") -> Json:
    """Return Envoy's HeaderValueOption; an empty value adds no header."""
    return {"header": {"key": name, "value": value}, "append_action": action}


def content_type_regex(media_types: Sequence[str]) -> str:
    """Return a RE2 expression for any of the types, in any case and with any parameters."""
    # Not re.escape: RE2 refuses some of the escapes that it writes.
    literal = (re.sub(r"([.+])", r"[\1]", kind) for kind in media_types)
    return "|".join(rf"(?i){kind}\s*(;.*)?" for kind in literal)


def status_filter(code: int) -> Json:
    """Return a filter of access loggers and local replies that wants this status."""
    value = {"default_value": code, "runtime_key": "marloft.unused"}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


def both_filters(first: Json, second: Json) -> Json:
    """Return a filter that wants both; the second is asked only where the first holds."""
    return {"and_filter": {"filters": [first, second]}}


def cel_filter(expression: str) -> Json:
    """Return a filter of access loggers and local replies that wants a CEL expression to hold."""
    kind = "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"
    return {
        "extension_filter": {
            "name": "envoy.access_loggers.extension_filters.cel",
            "typed_config": {"@type": kind, "expression": expression},
        }
    }


def address(host: str, port: int) -> Json:
    """Return Envoy's Address."""
    return {"socket_address": {"address": host, "port_value": port}}


def cluster(name: str, port: int) -> Json:
    """Return an upstream on loopback."""
    endpoint = {"endpoint": {"address": address(LOOPBACK, port)}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "0.5s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
    }
