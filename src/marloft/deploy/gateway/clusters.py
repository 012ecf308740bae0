"""Envoy's clusters, one for each version: how many requests may be on their way to it at once.

What comes beyond is refused by Envoy's circuit breaker at once, and not tried again.
https://www.envoyproxy.io/docs/envoy/v1.37.0/intro/arch_overview/upstream/circuit_breaking
"""

import math
from collections.abc import Iterable, Mapping

import msgspec

from marloft.contract.manifest import WorkerSettings
from marloft.contract.release import Key, ReleasedModel
from marloft.deploy.gateway.discovery_files import discovery_response
from marloft.deploy.gateway.envoy_config import Json, cluster

# What waits here also waits in front of a probe of /health, which has a second.
_WAIT_S = 0.3
# Of a version that gave no golden answers to be timed by.
_UNKNOWN_S = 1 / 32
_MOST_PER_WORKER = 256
_LABEL = "clusters"
_CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"


def cluster_name(model: str, version: str) -> str:
    """Return the name of a version's cluster; no model's name has an `@`."""
    return f"{model}@{version}"


def most_requests(settings: WorkerSettings, answer_s: float | None) -> int:
    """Return how many requests may be under way to a version that users are given.

    A batch that runs and one that waits for each worker, or, if that is more, what the workers
    answer in 0.3 s.

    Args:
        settings: of the version's workers.
        answer_s: seconds of a worker for each answer when a batch is asked at once, None if
            unknown. Only its power of two counts, so that measuring it again changes little.
    """
    seconds = 2.0 ** round(math.log2(answer_s or _UNKNOWN_S))
    answered = min(_WAIT_S / seconds, _MOST_PER_WORKER)
    return max(_two_batches(settings), settings.workers * int(answered))


def _two_batches(settings: WorkerSettings) -> int:
    return settings.workers * 2 * settings.batch_size


def version_limits(
    name: str, model: ReleasedModel, answer_s: Mapping[Key, float]
) -> dict[str, int]:
    """Return how many requests may be under way to each version of a model.

    Those that are reached by name alone take half of what the default may at most, all together,
    or two batches each: which version a body names is not known when a flood is refused.
    """
    full = {
        version: most_requests(pinned.settings, answer_s.get((name, version)))
        for version, pinned in model.versions.items()
    }
    by_name = model.versions.keys() - model.given
    part = full[model.default] // max(1, 2 * len(by_name))
    return full | {
        version: max(_two_batches(model.versions[version].settings), min(full[version], part))
        for version in by_name
    }


def render_clusters(
    models: Mapping[str, ReleasedModel], answer_s: Mapping[Key, float], port: int
) -> bytes:
    """Return the cluster file as JSON (a CDS response).

    Args:
        models: those whose versions routes may lead to, by name.
        answer_s: seconds of a worker for each answer, as far as it is known.
        port: TorchServe's inference port.
    """
    return _render(
        _version_cluster((name, version), most, port)
        for name, model in models.items()
        for version, most in version_limits(name, model, answer_s).items()
    )


def with_earlier(content: bytes | None, clusters: bytes) -> bytes:
    """Return the file `clusters` with the clusters that only the file `content` has."""
    earlier, now = _clusters(content), _clusters(clusters)
    return _render((earlier | now).values())


def cluster_names(content: bytes | None) -> frozenset[str]:
    """Return the clusters that a file defines, none when it cannot be read."""
    return frozenset(_clusters(content))


def _clusters(content: bytes | None) -> dict[str, Json]:
    try:
        resources = msgspec.json.decode(content or b"{}").get("resources", [])
        return {each["name"]: each for each in resources}
    except (msgspec.DecodeError, AttributeError, KeyError, TypeError):
        return {}


def _render(clusters: Iterable[Json]) -> bytes:
    return discovery_response(_LABEL, sorted(clusters, key=lambda each: str(each["name"])))


def _version_cluster(key: Key, most: int, port: int) -> Json:
    name = cluster_name(*key)
    limits = {
        "max_requests": most,
        "max_pending_requests": most,
        "max_retries": most,
        # Never what refuses: a thread of Envoy may hold idle ones that another one lacks.
        "max_connections": 2 * most,
    }
    return {
        "@type": _CLUSTER,
        **cluster(name, port),
        # A dot would end the name in Envoy's statistics.
        "alt_stat_name": name.replace(".", "_"),
        "circuit_breakers": {"thresholds": [limits]},
    }
