"""What is taken from clients in a second, by model and by address: Envoy's local rate limit.

https://www.envoyproxy.io/docs/envoy/v1.37.0/configuration/http/http_filters/local_rate_limit_filter
"""

from collections.abc import Mapping

from marloft.contract.policy import RequestLimits
from marloft.deploy.gateway.envoy_config import EXTENSION, METADATA, Json, extension

RATE_LIMIT = "envoy.filters.http.local_ratelimit"
_KIND = "filters.http.local_ratelimit.v3.LocalRateLimit"
_MODEL, _CLIENT = "model", "remote_address"
# Addresses whose requests are counted at a time; who asked least recently is forgotten first.
_MOST_CLIENTS = 10_000
_NO_LIMIT = (1 << 32) - 1
_ALWAYS = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}


def rate_limit_filter() -> Json:
    """Return the filter, which limits nothing by itself: that is said next to the routes."""
    return extension(RATE_LIMIT, _KIND, stat_prefix="limits")


def rate_limits(limits: Mapping[str, RequestLimits]) -> Json:
    """Return the limits of all models as a host's `typed_per_filter_config`.

    They belong to the host and not to routes: a model has several, each would count for itself.
    Requests count under the model that their route is labelled with (`route_labels`).
    """
    descriptors = [each for model in sorted(limits) for each in _descriptors(model, limits[model])]
    if not descriptors:
        return {}
    config = {
        "@type": EXTENSION + _KIND,
        "stat_prefix": "limits",
        "token_bucket": _bucket(_NO_LIMIT),
        "filter_enabled": _ALWAYS,
        "filter_enforced": _ALWAYS,
        "rate_limits": [{"actions": [_model()]}, {"actions": [_model(), {_CLIENT: {}}]}],
        "descriptors": descriptors,
        "max_dynamic_descriptors": _MOST_CLIENTS,
    }
    return {RATE_LIMIT: config}


def _descriptors(model: str, limits: RequestLimits) -> list[Json]:
    entry = {"key": _MODEL, "value": model}
    found = []
    if limits.requests_per_s is not None:
        found.append({"entries": [entry], "token_bucket": _bucket(limits.requests_per_s)})
    if limits.per_client_per_s is not None:
        # Without a value it stands for each address that comes, with a bucket of its own.
        entries = [entry, {"key": _CLIENT}]
        found.append({"entries": entries, "token_bucket": _bucket(limits.per_client_per_s)})
    return found


def _model() -> Json:
    path = {"key": METADATA, "path": [{"key": _MODEL}]}
    source = {"descriptor_key": _MODEL, "source": "ROUTE_ENTRY", "metadata_key": path}
    return {"metadata": source}


def _bucket(per_s: int) -> Json:
    return {"max_tokens": per_s, "tokens_per_fill": per_s, "fill_interval": "1s"}
