"""What the gateway counts: requests and latency by model, version, experiment and arm.

Envoy's own upstream statistics know one upstream; its `stats` access logger cuts them by what the
route meant. They are read at `/stats/prometheus` of the admin port.
https://www.envoyproxy.io/docs/envoy/v1.37.0/api-v3/extensions/access_loggers/stats/v3/stats.proto
"""

from marloft.contract.metric_names import (
    GATEWAY_IN_FLIGHT_STAT,
    GATEWAY_LATENCY_BUCKETS_US,
    GATEWAY_LATENCY_STAT,
    GATEWAY_REFUSAL_STAT,
    GATEWAY_REQUESTS_STAT,
    GATEWAY_STAT_PREFIX,
)
from marloft.contract.predict_api import CAUSE_HEADER, ROUTE_HEADER
from marloft.deploy.gateway.envoy_config import (
    ARM_HEADER,
    METADATA,
    PATH_VERSION_HEADER,
    Json,
    both_filters,
    cel_filter,
    status_filter,
)

_EXTENSION = "type.googleapis.com/envoy.extensions."
# An arm exists only in a weighted route, where a header is all that tells one from the other.
_LABELS = {
    "model": f"%METADATA(ROUTE:{METADATA}:model)%",
    "version": f"%REQ({PATH_VERSION_HEADER})%",
    "experiment": f"%METADATA(ROUTE:{METADATA}:experiment)%",
    "arm": f"%REQ({ARM_HEADER})%",
}
# How a request ended: what Envoy says of its end, and what a worker says of a 5xx.
# https://www.envoyproxy.io/docs/envoy/v1.37.0/configuration/observability/access_log/usage
_END = {
    "code": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "cause": f"%RESP({CAUSE_HEADER})%",
}
# What Envoy's adaptive concurrency filter calls its refusals.
_REFUSED_EARLY = "reached_concurrency_limit"


def route_labels(model: str, experiment: str = "") -> Json:
    """Return what a route has to carry for its requests to be counted under these labels."""
    labels = {"model": model, "experiment": experiment}
    return {"metadata": {"filter_metadata": {METADATA: labels}}}


def access_log() -> list[Json]:
    """Return the logger that counts each request that a version was meant to answer.

    Probes are left out, and so is what the gateway refuses by itself, but for a flood: what is
    refused before its body is parsed counts for its model, since nobody knows the version yet.
    Latency is the version's own: from the last byte of the request to the first byte of the answer,
    in microseconds, retries included. It is there for answers of the version alone. Refusals, 429
    and 503, have a histogram of their own: from the last byte of the request to the last of the
    answer.
    """
    header = {"name": ROUTE_HEADER, "string_match": {"prefix": "release="}}
    meant: Json = {"header_filter": {"header": header}}
    counter = {"stat": _stat(GATEWAY_REQUESTS_STAT, _LABELS | _END), "value_fixed": 1}
    histogram = {
        "stat": _stat(GATEWAY_LATENCY_STAT, _LABELS),
        "unit": "Microseconds",
        "value_format": "%COMMON_DURATION(DS_RX_END:US_RX_BEG:us)%",
    }
    refusal = {
        "stat": _stat(GATEWAY_REFUSAL_STAT, {"model": _LABELS["model"]}),
        "unit": "Microseconds",
        "value_format": "%COMMON_DURATION(DS_RX_END:DS_TX_END:us)%",
    }
    # The filter that refuses early sets no flag; its meaning is that of an open circuit breaker.
    labels = {"model": _LABELS["model"], "code": "503", "flags": "UO"}
    flood = {"stat": _stat(GATEWAY_REQUESTS_STAT, labels), "value_fixed": 1}
    # Statuses first: they cost less to compare than an expression, with each answer.
    early = both_filters(
        status_filter(503), cel_filter(f"response.code_details == '{_REFUSED_EARLY}'")
    )
    refusals = {"or_filter": {"filters": [status_filter(429), status_filter(503)]}}
    refused = both_filters(refusals, meant)
    # Envoy complains of a duration whose end never came.
    answered = both_filters(meant, cel_filter("has(response.backend_latency)"))
    return [
        _logger(meant, counters=[counter]),
        _logger(answered, histograms=[histogram]),
        _logger(refused, histograms=[refusal]),
        _logger(early, counters=[flood], histograms=[refusal]),
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
    """Return the buckets of the histograms; Envoy's own are too wide around 100 ms."""
    names = [f"{GATEWAY_STAT_PREFIX}.{s}" for s in (GATEWAY_LATENCY_STAT, GATEWAY_REFUSAL_STAT)]
    bounds = list(GATEWAY_LATENCY_BUCKETS_US)
    settings = [{"match": {"prefix": name}, "buckets": bounds} for name in names]
    return {"histogram_bucket_settings": settings}


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


def _logger(condition: Json, **measured: list[Json]) -> Json:
    config = {"@type": _EXTENSION + "access_loggers.stats.v3.Config"}
    return {
        "name": "envoy.access_loggers.stats",
        "filter": condition,
        "typed_config": {**config, "stat_prefix": GATEWAY_STAT_PREFIX, **measured},
    }


def _stat(name: str, labels: dict[str, str]) -> Json:
    tags = [{"name": key, "value_format": value} for key, value in labels.items()]
    return {"name": name, "tags": tags}
