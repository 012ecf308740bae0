"""How long a request may take at the gateway, and when it is tried again."""

import math
from collections.abc import Iterable, Sequence

from marloft.contract.manifest import WorkerSettings
from marloft.contract.release import Release
from marloft.deploy.gateway.envoy_config import Json

HEALTH_S = 1.0
# TorchServe ends a worker that takes longer than the response timeout; its own answer comes first.
_GRACE_S = 0.5
# A killed worker is back after 3 s, with both cores busy after 11 s and more: what was on its way
# to it waits that long and is answered, not refused.
_LEAST_REQUEST_S = 20.0
# A worker that dies answers some tries at once, so that they use up no time.
_LEAST_RETRIES = 4


def try_limit_s(settings: Iterable[WorkerSettings]) -> float:
    """Return how long one try may take: the longest response timeout of the versions, and a bit.

    Without a limit a try that a killed worker never answers would hang until the last one.
    """
    return max(each.response_timeout_s for each in settings) + _GRACE_S


def request_limit_s(settings: Iterable[WorkerSettings]) -> float:
    """Return how long all tries of a request may take: room for one more after the longest."""
    return max(_LEAST_REQUEST_S, 2 * try_limit_s(settings))


def retries(settings: Sequence[WorkerSettings]) -> int:
    """Return how often a request is tried again: as often as its time has room for."""
    return max(_LEAST_RETRIES, math.ceil(request_limit_s(settings) / try_limit_s(settings)))


def longest_request_s(release: Release) -> float:
    """Return the most that any request of this release's routes can last."""
    return request_limit_s(
        pinned.settings for model in release.models.values() for pinned in model.versions.values()
    )


def retry_policy(try_s: float, most: int) -> Json:
    """Return Envoy's retry policy of tries of `try_s` seconds, of which `most` come again.

    A dying worker answers 500, so 5xx is retried; a handler marks its own failure and is not.
    """
    return {
        "retry_on": "5xx,reset,connect-failure,refused-stream",
        "num_retries": most,
        "per_try_timeout": seconds(try_s),
        "retry_back_off": {"base_interval": "0.2s", "max_interval": "2s"},
    }


def seconds(value: float) -> str:
    """Return a duration as protobuf's JSON form has it, for example `1.5s`."""
    return f"{value:g}s"
