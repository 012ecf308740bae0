"""Envoy's bootstrap file: the gateway's listener, where clusters and routes come from, limits."""

import sysconfig
from pathlib import Path

from marloft.deploy.gateway.discovery_files import CLUSTERS_FILE
from marloft.deploy.gateway.envoy_config import (
    EXTENSION,
    ROUTE_CONFIG,
    UPSTREAM,
    Json,
    address,
    cluster,
    extension,
)
from marloft.deploy.gateway.filter_chain import http_filters
from marloft.deploy.gateway.operations import operations_clusters, operations_listener
from marloft.deploy.gateway.replies import local_reply_config
from marloft.deploy.gateway.stats import (
    access_log,
    stats_config,
    strip_before_everything,
)
from marloft.deploy.ports import LOOPBACK, Exposure, Ports
from marloft.files import to_json

MAX_BODY_BYTES = 1 << 20


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
    most_connections: int = 10_000,
) -> bytes:
    """Return the bootstrap file as JSON.

    `routes_file` holds what `render_routes` returns and must exist when Envoy starts, and next to
    it `clusters.json` what `render_clusters` returns; Envoy takes a new one when it is renamed
    into place, and keeps what it has when the new file is broken.
    `exposure` says who reaches which listener. More than `most_connections` clients are turned
    away. No request is logged, only counted.
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
            "dynamic_resources": {"cds_config": _watched(routes_file.with_name(CLUSTERS_FILE))},
            "overload_manager": {"resource_monitors": [_connection_limit(most_connections)]},
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
    return extension(
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
            "typed_config": {"@type": EXTENSION + uuid, "pack_trace_reason": False}
        },
        request_headers_timeout="10s",
        request_timeout="30s",
        stream_idle_timeout="60s",
        # Envoy's own is an hour: ten thousand clients that say nothing would then be the last.
        # Longer than the minute for which balancers keep a connection, so that they end it.
        common_http_protocol_options={"idle_timeout": "75s"},
        early_header_mutation_extensions=strip_before_everything(),
        access_log=access_log(),
        local_reply_config=local_reply_config(max_body_bytes),
        rds={"route_config_name": ROUTE_CONFIG, "config_source": _watched(routes_file)},
        http_filters=http_filters(max_body_bytes),
    )


def _upstream(ports: Ports) -> Json:
    # A lane of their own for probes: no flood of requests fills it.
    limits = dict.fromkeys(
        ("max_connections", "max_pending_requests", "max_requests", "max_retries"), 4096
    )
    return cluster(UPSTREAM, ports.inference) | {"circuit_breakers": {"thresholds": [limits]}}


def _connection_limit(most: int) -> Json:
    return extension(
        "envoy.resource_monitors.global_downstream_max_connections",
        "resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
        max_active_downstream_connections=most,
    )


def _watched(file: Path) -> Json:
    absolute = file.absolute()
    source = {"path": str(absolute), "watched_directory": {"path": str(absolute.parent)}}
    return {"resource_api_version": "V3", "path_config_source": source}
