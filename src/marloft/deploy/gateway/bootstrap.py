"""Envoy's bootstrap file: one listener, the filter chain before the routes, one upstream."""

import sysconfig
from pathlib import Path

from marloft.contract.predict_api import REQUEST_ID_HEADER, USER_HEADER
from marloft.deploy.gateway.envoy_config import (
    CUSTOM_RESPONSE,
    JSON_TYPE,
    MALFORMED,
    METADATA,
    PRESENT,
    ROUTE_CONFIG,
    UNIT_HEADER,
    UNIT_REGEX,
    UPSTREAM,
    Json,
    address,
    cluster,
    content_type_regex,
    has_form,
    metadata_matcher,
    set_header,
)
from marloft.deploy.gateway.operations import operations_clusters, operations_listener
from marloft.deploy.gateway.replies import hide_server_errors, local_reply_config
from marloft.deploy.gateway.stats import (
    access_log,
    stats_config,
    strip_before_everything,
    upstream_log,
)
from marloft.deploy.ports import LOOPBACK, Exposure, Ports
from marloft.files import to_json

MAX_BODY_BYTES = 1 << 20
# Each header costs the worker time, and it reads none of these.
_NOT_FOR_WORKERS = (
    "authorization",
    "cache-control",
    "cookie",
    "dnt",
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
_EXTENSION = "type.googleapis.com/envoy.extensions."


def envoy_command(config_path: Path, *, concurrency: int) -> list[str]:
    """Return the command that runs Envoy quietly on `config_path` with `concurrency` threads.

    Hot restart is off: it shares memory by an id per machine, so that two gateways would clash.
    """
    return [
        str(Path(sysconfig.get_path("scripts")) / "envoy"),
        "--config-path",
        str(config_path),
        "--concurrency",
        str(concurrency),
        "--log-level",
        "warn",
        # One known warning per start: the custom_response filter is young (decision record).
        "--component-log-level",
        "misc:error",
        "--disable-hot-restart",
    ]


def render_bootstrap(
    ports: Ports,
    routes_file: Path,
    *,
    exposure: Exposure | None = None,
    max_body_bytes: int = MAX_BODY_BYTES,
) -> bytes:
    """Return the bootstrap file as JSON.

    `routes_file` holds what `render_routes` returns and must exist when Envoy starts; Envoy takes
    a new one when it is renamed into place, and keeps the old routes when the new file is broken.
    `exposure` says who reaches which listener. No request is logged, only counted.
    """
    hosts = exposure or Exposure()
    gateway = _listener(ports, routes_file, hosts.gateway, max_body_bytes)
    return to_json(
        {
            "node": {"id": "gateway", "cluster": "marloft"},
            "admin": {"address": address(LOOPBACK, ports.envoy_admin)},
            "stats_config": stats_config(),
            # Histograms show at a flush only; a watch that looks every second needs them by then.
            "stats_flush_interval": "1s",
            "static_resources": {
                "listeners": [gateway, operations_listener(ports, hosts.operations)],
                "clusters": [_upstream(ports), *operations_clusters(ports)],
            },
            "overload_manager": {"resource_monitors": [_connection_limit()]},
            # RE2 counts `{1,128}` as 128 copies; Envoy's default limit is a program of 100.
            "layered_runtime": {
                "layers": [
                    {
                        "name": "limits",
                        "static_layer": {"re2": {"max_program_size": {"error_level": 1000}}},
                    }
                ]
            },
        }
    )


def _listener(ports: Ports, routes_file: Path, host: str, max_body_bytes: int) -> Json:
    manager = _connection_manager(routes_file, max_body_bytes)
    return {
        "name": "gateway",
        # What a drain closes; the other listener stays until the end.
        "traffic_direction": "INBOUND",
        "address": address(host, ports.gateway),
        # A retry needs the whole body kept, so the buffer is as large as the largest body.
        "per_connection_buffer_limit_bytes": max_body_bytes,
        "filter_chains": [{"filters": [manager]}],
    }


def _connection_manager(routes_file: Path, max_body_bytes: int) -> Json:
    manager = "filters.network.http_connection_manager.v3.HttpConnectionManager"
    uuid = "request_id.uuid.v3.UuidRequestIdConfig"
    return _filter(
        "envoy.filters.network.http_connection_manager",
        manager,
        stat_prefix="gateway",
        use_remote_address=True,
        skip_xff_append=True,
        normalize_path=True,
        # A client's request id stays as it is: no trace bits are packed into it.
        preserve_external_request_id=True,
        always_set_request_id_in_response=True,
        request_id_extension={
            "typed_config": {"@type": _EXTENSION + uuid, "pack_trace_reason": False}
        },
        request_headers_timeout="10s",
        request_timeout="30s",
        stream_idle_timeout="60s",
        early_header_mutation_extensions=strip_before_everything(),
        access_log=access_log(),
        local_reply_config=local_reply_config(max_body_bytes),
        rds={"route_config_name": ROUTE_CONFIG, "config_source": _watched(routes_file)},
        http_filters=_http_filters(max_body_bytes),
    )


def _http_filters(max_body_bytes: int) -> list[Json]:
    """Return the chain; the order is the point (docs/decisions: gateway chain without Lua)."""
    return [
        _filter(
            "envoy.filters.http.buffer",
            "filters.http.buffer.v3.Buffer",
            max_request_bytes=max_body_bytes,
        ),
        _read_body(),
        _check_forms(),
        _set_headers(),
        # Routes are matched once more: the first match saw neither the body nor the clean headers.
        _filter(
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
        _filter(
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
    return _filter(
        "envoy.filters.http.json_to_metadata",
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
    return _filter(
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
    return _filter(
        "envoy.filters.http.header_mutation",
        "filters.http.header_mutation.v3.HeaderMutation",
        mutations={"request_mutations": mutations},
    )


def _from_body(field: str) -> str:
    return f"%DYNAMIC_METADATA({METADATA}:{field})%"


def _upstream(ports: Ports) -> Json:
    # Envoy's default allows 3 retries at a time: too few when a worker dies under load.
    limits = dict.fromkeys(
        ("max_connections", "max_pending_requests", "max_requests", "max_retries"), 4096
    )
    return cluster(UPSTREAM, ports.inference) | {"circuit_breakers": {"thresholds": [limits]}}


def _connection_limit() -> Json:
    return _filter(
        "envoy.resource_monitors.global_downstream_max_connections",
        "resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        max_active_downstream_connections=10_000,
    )


def _watched(routes_file: Path) -> Json:
    absolute = routes_file.absolute()
    source = {"path": str(absolute), "watched_directory": {"path": str(absolute.parent)}}
    return {"resource_api_version": "V3", "path_config_source": source}


def _filter(name: str, kind: str, **fields: object) -> Json:
    return {"name": name, "typed_config": {"@type": _EXTENSION + kind, **fields}}
