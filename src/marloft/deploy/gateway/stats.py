"""What the gateway counts: requests and latency by model, version, experiment and arm.

Envoy's own upstream statistics know one upstream; its `stats` access logger cuts them by what the
route meant. They are read at `/stats/prometheus` of the admin port.
https://www.envoyproxy.io/docs/envoy/v1.37.0/api-v3/extensions/access_loggers/stats/v3/stats.proto
"""

from marloft.contract.metric_names import (
    GATEWAY_IN_FLIGHT_STAT,
    GATEWAY_LATENCY_BUCKETS_US,
    GATEWAY_LATENCY_STAT,
    GATEWAY_REQUESTS_STAT,
    GATEWAY_STAT_PREFIX,
)
from marloft.contract.predict_api import ROUTE_HEADER
from marloft.deploy.gateway.envoy_config import ARM_HEADER, METADATA, PATH_VERSION_HEADER, Json

_EXTENSION = "type.googleapis.com/envoy.extensions."
# An arm exists only in a weighted route, where a header is all that tells one from the other.
_LABELS = {
    "model": f"%METADATA(ROUTE:{METADATA}:model)%",
    "version": f"%REQ({PATH_VERSION_HEADER})%",
    "experiment": f"%METADATA(ROUTE:{METADATA}:experiment)%",
    "arm": f"%REQ({ARM_HEADER})%",
}


def route_labels(model: str, experiment: str = "") -> Json:
    """Return what a route has to carry for its requests to be counted under these labels."""
    labels = {"model": model, "experiment": experiment}
    return {"metadata": {"filter_metadata": {METADATA: labels}}}


def access_log() -> list[Json]:
    """Return the logger that counts each request that a version was meant to answer.

    Probes and what the gateway refuses by itself are left out. Latency runs from the first byte
    received to the last byte sent, in microseconds, retries included.
    """
    meant = {"name": ROUTE_HEADER, "string_match": {"prefix": "release="}}
    return [
        {
            "name": "envoy.access_loggers.stats",
            "filter": {"header_filter": {"header": meant}},
            "typed_config": {
                "@type": _EXTENSION + "access_loggers.stats.v3.Config",
                "stat_prefix": GATEWAY_STAT_PREFIX,
                "histograms": [
                    {
                        "stat": _stat(GATEWAY_LATENCY_STAT, _LABELS),
                        "unit": "Microseconds",
                        "value_format": "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)%",
                    }
                ],
                "counters": [
                    {
                        "stat": _stat(
                            GATEWAY_REQUESTS_STAT, {**_LABELS, "code": "%RESPONSE_CODE%"}
                        ),
                        "value_fixed": 1,
                    }
                ],
            },
        }
    ]


def upstream_log() -> list[Json]:
    """Return the logger that counts the tries under way by model and version.

    The gateway's own log cannot: when a request begins no route is known. A try begins when it
    has a connection and ends with its answer; between two tries a request is in neither.
    """
    labels = {key: _LABELS[key] for key in ("model", "version")}
    return [
        {
            "name": "envoy.access_loggers.stats",
            "typed_config": {
                "@type": _EXTENSION + "access_loggers.stats.v3.Config",
                "stat_prefix": GATEWAY_STAT_PREFIX,
                "gauges": [
                    {
                        "stat": _stat(GATEWAY_IN_FLIGHT_STAT, labels),
                        "value_fixed": 1,
                        "add_subtract": {
                            "add_log_type": "UpstreamPoolReady",
                            "sub_log_type": "UpstreamEnd",
                        },
                    }
                ],
            },
        }
    ]


def stats_config() -> Json:
    """Return the buckets of the latency histogram; Envoy's own are too wide around 100 ms."""
    name = f"{GATEWAY_STAT_PREFIX}.{GATEWAY_LATENCY_STAT}"
    buckets = {"match": {"prefix": name}, "buckets": list(GATEWAY_LATENCY_BUCKETS_US)}
    return {"histogram_bucket_settings": [buckets]}


def strip_before_everything() -> list[Json]:
    """Remove a client's `x-marloft…` before the first filter can refuse the request.

    Else a refused request would be counted under labels of the client's choice, each of them a
    time series for good.
    """
    prefix = {"prefix": ROUTE_HEADER, "ignore_case": True}
    kind = "http.early_header_mutation.header_mutation.v3.HeaderMutation"
    mutations = [{"remove_on_match": {"key_matcher": prefix}}]
    return [
        {
            "name": "envoy.http.early_header_mutation.header_mutation",
            "typed_config": {"@type": _EXTENSION + kind, "mutations": mutations},
        }
    ]


def _stat(name: str, labels: dict[str, str]) -> Json:
    tags = [{"name": key, "value_format": value} for key, value in labels.items()]
    return {"name": name, "tags": tags}
