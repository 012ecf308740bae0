"""The operations listener: metrics, liveness and what is registered, read-only, for other hosts.

TorchServe, Envoy's admin, the exporter and the supervisor stay on loopback, since most of them can
do more than read. What a cluster's probes and a Prometheus on another host need is passed on here
by exact path and by GET alone.
"""

from collections.abc import Mapping

from marloft.deploy.gateway.envoy_config import UPSTREAM, Json, address, cluster
from marloft.deploy.gateway.replies import answer
from marloft.deploy.ports import Ports

PING = "/ping"
METRICS_TORCHSERVE = "/metrics/torchserve"
METRICS_GATEWAY = "/metrics/gateway"
METRICS_WORKERS = "/metrics/workers"
METRICS_SERVE = "/metrics/serve"
MODELS = "/models"
_MODELS_REGEX = "/models(/[A-Za-z0-9_][A-Za-z0-9_.-]*){0,2}"
# (cluster, path there) of each path here.
_PASSED_ON = {
    PING: (UPSTREAM, "/ping"),
    METRICS_TORCHSERVE: ("torchserve_metrics", "/metrics"),
    METRICS_GATEWAY: ("envoy_admin", "/stats/prometheus"),
    METRICS_WORKERS: ("exporter", "/metrics"),
    METRICS_SERVE: ("supervisor", "/metrics"),
}
_MANAGEMENT = "torchserve_management"
_GET: Json = {"name": ":method", "string_match": {"exact": "GET"}}
_TIMEOUT = "10s"
_MANAGER = (
    "type.googleapis.com/"
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


def operations_listener(ports: Ports, host: str) -> Json:
    """Return the listener on `host` (IPv4) and the operations port."""
    manager: Json = {
        "@type": _MANAGER,
        "stat_prefix": "operations",
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "request_headers_timeout": "10s",
        "stream_idle_timeout": "60s",
        "route_config": {
            "name": "operations",
            "virtual_hosts": [
                {
                    "name": "operations",
                    "domains": ["*"],
                    # As on the gateway's own listener, whose connections /ping shares.
                    "request_headers_to_remove": ["expect"],
                    "routes": _routes(),
                }
            ],
        },
        "http_filters": [
            {"name": "envoy.filters.http.router", "typed_config": {"@type": _ROUTER}},
        ],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    return {
        "name": "operations",
        "address": address(host, ports.operations),
        # Probes and scrapes go on while clients have all the connections that there may be.
        "ignore_global_conn_limit": True,
        "filter_chains": [{"filters": filters}],
    }


def operations_clusters(ports: Ports) -> list[Json]:
    """Return the upstreams that only this listener leads to; all of them are on loopback."""
    upstreams: Mapping[str, int] = {
        "torchserve_metrics": ports.metrics,
        _MANAGEMENT: ports.management,
        "envoy_admin": ports.envoy_admin,
        "exporter": ports.exporter,
        "supervisor": ports.supervisor,
    }
    return [cluster(name, port) for name, port in upstreams.items()]


def _routes() -> list[Json]:
    routes = [
        {
            "match": {"path": path, "headers": [_GET]},
            "route": {"cluster": cluster, "prefix_rewrite": there, "timeout": _TIMEOUT},
        }
        for path, (cluster, there) in _PASSED_ON.items()
    ]
    models = {
        "match": {"safe_regex": {"regex": _MODELS_REGEX}, "headers": [_GET]},
        "route": {"cluster": _MANAGEMENT, "timeout": _TIMEOUT},
    }
    known = ", ".join((*_PASSED_ON, MODELS))
    return [*routes, models, answer({"prefix": "/"}, 404, f"GET one of {known}.")]
