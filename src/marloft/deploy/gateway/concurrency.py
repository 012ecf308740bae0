"""Refuses early what a version's cluster would refuse anyway, at a third of the cost.

A refusal by the cluster comes after the body was parsed and routed. Envoy's adaptive concurrency
filter comes before, and with a fixed ideal time it adapts nothing: it is a plain limit. Composite
filters are configured by route, so that each route has a limit of its own.
https://www.envoyproxy.io/docs/envoy/v1.37.0/configuration/http/http_filters/composite_filter
"""

from collections.abc import Mapping

from marloft.contract.release import ReleasedModel
from marloft.deploy.gateway.envoy_config import EXTENSION, Json

COMPOSITE = "envoy.filters.http.composite"
# What the filter answers with, for `local_reply_config` to know it by; no client sees it.
REFUSED_EARLY, _REFUSED_EARLY_NAME = 423, "Locked"
_MATCHING = f"{EXTENSION}common.matching.v3."
_FILTERS = f"{EXTENSION}filters.http."
_NEVER = "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput"


def concurrency_filter() -> Json:
    """Return the filter, which does nothing on routes that say nothing of it."""
    unused: Json = {
        "predicate": {
            "single_predicate": {
                "input": {
                    "name": "header",
                    "typed_config": {"@type": _NEVER, "header_name": "x-marloft-unused"},
                },
                "value_match": {"exact": "unused"},
            }
        },
        "on_match": _action(
            {"@type": f"{EXTENSION}filters.common.matcher.action.v3.SkipFilter"},
        ),
    }
    return {
        "name": COMPOSITE,
        "typed_config": {
            "@type": f"{_MATCHING}ExtensionWithMatcher",
            "extension_config": {
                "name": COMPOSITE,
                "typed_config": {"@type": f"{_FILTERS}composite.v3.Composite"},
            },
            "xds_matcher": {"matcher_list": {"matchers": [unused]}},
        },
    }


def concurrency_limit(most: int) -> Json:
    """Return a route's `typed_per_filter_config`: `most` of its requests may be under way."""
    limit = {
        "@type": f"{_FILTERS}adaptive_concurrency.v3.AdaptiveConcurrency",
        "gradient_controller_config": {
            "concurrency_limit_params": {
                "max_concurrency_limit": most,
                "concurrency_update_interval": "10s",
            },
            # No request takes as long as is ideal, so that the limit is always the largest.
            "min_rtt_calc_params": {"fixed_value": "3600s", "min_concurrency": most},
        },
        "concurrency_limit_exceeded_status": {"code": _REFUSED_EARLY_NAME},
    }
    execute = {
        "@type": f"{_FILTERS}composite.v3.ExecuteFilterAction",
        "typed_config": {"name": "envoy.filters.http.adaptive_concurrency", "typed_config": limit},
    }
    by_route = {
        "@type": f"{_MATCHING}ExtensionWithMatcherPerRoute",
        "xds_matcher": {"on_no_match": _action(execute)},
    }
    return {"typed_per_filter_config": {COMPOSITE: by_route}}


def most_of_route(model: ReleasedModel, version: str, limits: Mapping[str, int]) -> int:
    """Return how many requests of a route may be under way.

    Args:
        model: with the versions that routes lead to.
        version: what the route leads to. The default's is the first route that a request meets,
            also one whose user the split leads to another arm: it takes what all arms do together,
            so that one that hangs does not use up the others' share.
        limits: how many requests may be under way to each version.
    """
    given = model.given if version == model.default else {version}
    return sum(limits[each] for each in given)


def _action(config: Json) -> Json:
    return {"action": {"name": "action", "typed_config": config}}
