"""The HTTP filters that a request passes before its route: read, checked, its headers set.

Envoy's own filters in an order that is the point (docs/decisions/002).
"""

from marloft.contract.predict_api import REQUEST_ID_HEADER, USER_HEADER
from marloft.deploy.gateway.concurrency import concurrency_filter
from marloft.deploy.gateway.envoy_config import (
    CUSTOM_RESPONSE,
    JSON_TYPE,
    MALFORMED,
    METADATA,
    PRESENT,
    READ_BODY,
    UNIT_HEADER,
    UNIT_REGEX,
    Json,
    content_type_regex,
    extension,
    has_form,
    metadata_matcher,
    set_header,
)
from marloft.deploy.gateway.rate_limits import rate_limit_filter
from marloft.deploy.gateway.replies import hide_server_errors
from marloft.deploy.gateway.stats import upstream_log

# Each header costs the worker time, and it reads none of these.
_NOT_FOR_WORKERS = (
    "authorization",
    "cache-control",
    "cookie",
    "dnt",
    # TorchServe refuses an expectation that it does not know without reading the body, and takes
    # that for the next request on the connection: somebody else's would be answered 400.
    "expect",
    "if-modified-since",
    "if-none-match",
    "origin",
    "pragma",
    "priority",
    "referer",
    "te",
    "traceparent",
    "tracestate",
    "upgrade-insecure-requests",
    "user-agent",
    # x-forwarded-proto has to stay until a route is found: without it Envoy finds none.
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
)
# x-envoy-*: a client could set its own timeouts and retries with them.
_NOT_FOR_WORKERS_PREFIXES = ("x-marloft", "x-envoy-", "accept", "sec-")
_BODY_FIELDS = ("model_version", "user_id", "request_id")


def http_filters(max_body_bytes: int) -> list[Json]:
    """Return the chain; bodies of more than `max_body_bytes` are refused."""
    return [
        extension(
            "envoy.filters.http.buffer",
            "filters.http.buffer.v3.Buffer",
            max_request_bytes=max_body_bytes,
        ),
        # Not before the body is there: Envoy would close the connection with its refusal.
        rate_limit_filter(),
        concurrency_filter(),
        _read_body(),
        _check_forms(),
        _set_headers(),
        # Routes are matched once more: the first match saw neither the body nor the clean headers.
        extension(
            "envoy.filters.http.set_filter_state",
            "filters.http.set_filter_state.v3.Config",
            on_request_headers=[
                {
                    "object_key": "envoy.string",
                    "format_string": {"text_format_source": {"inline_string": METADATA}},
                }
            ],
            clear_route_cache=True,
        ),
        {"name": CUSTOM_RESPONSE, "typed_config": hide_server_errors()},
        extension(
            "envoy.filters.http.router",
            "filters.http.router.v3.Router",
            suppress_envoy_headers=True,
            upstream_log=upstream_log(),
            upstream_log_options={"flush_upstream_log_on_upstream_stream": True},
        ),
    ]


def _read_body() -> Json:
    """Copy the top-level fields that routing needs from a JSON body to dynamic metadata."""
    # What Envoy cannot read, a worker perhaps can: then the two would see different requests.
    unread = {"metadata_namespace": METADATA, "key": MALFORMED, "value": "yes"}
    rules = [
        {
            "selectors": [{"key": field}],
            "on_present": {"metadata_namespace": METADATA, "key": field, "type": "STRING"},
            "on_error": unread,
        }
        for field in _BODY_FIELDS
    ]
    return extension(
        READ_BODY,
        "filters.http.json_to_metadata.v3.JsonToMetadata",
        request_rules={
            "rules": rules,
            "allow_content_types_regex": {"regex": content_type_regex([JSON_TYPE])},
        },
    )


def _check_forms() -> Json:
    """Refuse ids that are not plain text before one is copied into a header.

    A line break in a copied value would split into headers of the client's choice. Envoy can
    only refuse with 403 here; `local_reply_config` makes it 422 (body) or 400 (header).
    """
    form = has_form(UNIT_REGEX)
    policies = {
        field: _deny(
            {"sourced_metadata": {"metadata_matcher": metadata_matcher(field, PRESENT)}},
            {
                "sourced_metadata": {
                    "metadata_matcher": metadata_matcher(field, {"string_match": form})
                }
            },
        )
        for field in ("user_id", "request_id")
    }
    for name in (USER_HEADER, REQUEST_ID_HEADER):
        policies[name] = _deny(
            {"header": {"name": name, "present_match": True}},
            {"header": {"name": name, "string_match": form}},
        )
    return extension(
        "envoy.filters.http.rbac",
        "filters.http.rbac.v3.RBAC",
        rules={"action": "DENY", "policies": policies},
    )


def _deny(present: Json, good: Json) -> Json:
    bad = {"and_ids": {"ids": [present, {"not_id": good}]}}
    return {"permissions": [{"any": True}], "principals": [bad]}


def _set_headers() -> Json:
    """Drop what a client may not say, then set the unit and the request id: body before header."""
    prefixes = [{"prefix": prefix, "ignore_case": True} for prefix in _NOT_FOR_WORKERS_PREFIXES]
    mutations: list[Json] = [{"remove_on_match": {"key_matcher": prefix}} for prefix in prefixes]
    mutations += [{"remove": name} for name in _NOT_FOR_WORKERS]
    mutations += [
        {"append": set_header(UNIT_HEADER, _from_body("user_id"))},
        {"append": set_header(UNIT_HEADER, f"%REQ({USER_HEADER})%", "ADD_IF_ABSENT")},
        {"append": set_header(REQUEST_ID_HEADER, _from_body("request_id"))},
    ]
    return extension(
        "envoy.filters.http.header_mutation",
        "filters.http.header_mutation.v3.HeaderMutation",
        mutations={"request_mutations": mutations},
    )


def _from_body(field: str) -> str:
    return f"%DYNAMIC_METADATA({METADATA}:{field})%"
