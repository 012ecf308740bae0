"""Envoy's route file, rendered from a release: which request goes to which version, and why."""

from collections.abc import Collection, Iterable, Mapping

from marloft.contract.manifest import WorkerSettings, version_order
from marloft.contract.predict_api import (
    DO_NOT_RETRY_HEADER,
    QUERY_HEADER,
    ROUTE_HEADER,
    VERSION_HEADER,
    public_version,
)
from marloft.contract.release import ROLLOUT_PREFIX, Allocation, Key, Release, ReleasedModel
from marloft.deploy.gateway.clusters import cluster_name, version_limits
from marloft.deploy.gateway.concurrency import concurrency_limit, most_of_route
from marloft.deploy.gateway.discovery_files import discovery_response
from marloft.deploy.gateway.envoy_config import (
    ARM_HEADER,
    CUSTOM_RESPONSE,
    PATH_VERSION_HEADER,
    PRESENT,
    ROUTE_CONFIG,
    UNIT_HEADER,
    UPSTREAM,
    Json,
    has_form,
    metadata_matcher,
    set_header,
)
from marloft.deploy.gateway.rate_limits import rate_limits
from marloft.deploy.gateway.replies import answer, answer_unread, hide_all_errors
from marloft.deploy.gateway.request_checks import body_checks, method_checks
from marloft.deploy.gateway.retries import (
    HEALTH_S,
    request_limit_s,
    retries,
    retry_policy,
    seconds,
    try_limit_s,
)
from marloft.deploy.gateway.stats import route_labels
from marloft.deploy.release.in_force import InForce, whole

OUTCOMES_MODEL = "outcomes"

# Rendered once, when the body is complete, and the same in each try of the request.
_COMPLETE = "%EMIT_TIME(%s.%6f)%"


def render_routes(
    release: Release,
    unavailable: Collection[tuple[str, str]] = (),
    *,
    resting: Collection[tuple[str, str]] = (),
    in_force: InForce | None = None,
    answer_s: Mapping[Key, float] | None = None,
) -> bytes:
    """Return the route file as JSON (an RDS response with one route configuration).

    A unit's arm is that of bucket `xxh64("<salt>:<unit>", seed 0) % total`, where the arms own
    consecutive intervals in order: Envoy's own weighted choice by hash.

    Args:
        release: what is live.
        unavailable: `(model, version)` of released versions that are not ready. They answer 503.
            While an arm of an allocation is among them, the whole allocation rests and its
            requests go to the default version, outside the experiment.
        resting: `(model, version)` of versions whose workers have all died and start again. An
            allocation rests with them too, but for the default version: its users have nowhere
            else to go. They keep their other routes, whose requests wait for the new worker.
        in_force: the releases that each model's routes are of, `release` its front; by default
            all of them are of `release`.
        answer_s: seconds of a worker for each answer of a version, as far as they are known.

    Raises:
        ReleaseError: the default model, a default or an arm names something that is not released.
    """
    models = (in_force or whole(release)).models
    for each in {each.release: each for each in (release, *models.values())}.values():
        each.check_references()
    routes = _health(release.default_model, models[release.default_model], unavailable)
    for name in sorted(models):
        router = _ModelRouter(models[name], name, unavailable, resting, answer_s or {})
        if name == OUTCOMES_MODEL:
            routes += router.default_only(f"/{name}")
        routes += router.routes(f"/models/{name}/predict")
        if name == release.default_model:
            routes += router.routes("/predict")
    routes += _unknown(models)
    host: Json = {
        "name": "marloft",
        "domains": ["*"],
        "include_request_attempt_count": True,
        "routes": routes,
    }
    limits = rate_limits({name: models[name].models[name].limits for name in models})
    if limits:
        host["typed_per_filter_config"] = limits
    config = {
        "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        "name": ROUTE_CONFIG,
        "virtual_hosts": [host],
        "request_headers_to_remove": ["x-forwarded-proto"],
        "response_headers_to_remove": [DO_NOT_RETRY_HEADER],
        "max_direct_response_body_size_bytes": 65536,
    }
    return discovery_response((in_force or whole(release)).label, [config])


class _ModelRouter:
    """The routes of one model; the order in `routes` decides which one a request takes."""

    def __init__(
        self,
        release: Release,
        name: str,
        unavailable: Collection[tuple[str, str]],
        resting: Collection[tuple[str, str]],
        answer_s: Mapping[Key, float],
    ) -> None:
        self._number = release.release
        self._name = name
        self._model: ReleasedModel = release.models[name]
        self._limits = version_limits(name, self._model, answer_s)
        self._down = {version for model, version in unavailable if model == name}
        self._resting = {version for model, version in resting if model == name}
        # The checks stand before the choice of a version; a worker refuses what only others take.
        pinned = self._model.versions.values()
        self._types = sorted({kind for each in pinned for kind in each.accepts})
        self._parameters = self._model.parameters
        self._versions = sorted(self._model.versions, key=version_order)

    def routes(self, path: str) -> list[Json]:
        return [
            *body_checks(path, self._types, self._parameters),
            *self._pinned(path),
            *self._split(path),
            self._default(path),
        ]

    def default_only(self, path: str) -> list[Json]:
        return [*body_checks(path, self._types), self._default(path)]

    def _default(self, path: str) -> Json:
        return self._version_route({"path": path}, self._model.default)

    def _pinned(self, path: str) -> list[Json]:
        """Versions named by the body, then by the header: the body decides when both are there."""
        routes = []
        for source in (_in_body, _in_header):
            for version in self._versions:
                named = {"string_match": has_form("v?" + version.replace(".", "[.]"))}
                routes.append(self._version_route({"path": path, **source(named)}, version))
            known = ", ".join(map(public_version, self._versions))
            detail = f"This model_version is not deployed; {self._name} has: {known}."
            routes.append(answer({"path": path, **source(PRESENT)}, 404, detail))
        return routes

    def _split(self, path: str) -> list[Json]:
        allocation = self._model.allocation
        away = self._down | (self._resting - {self._model.default})
        if allocation is None or any(arm.version in away for arm in allocation.arms):
            return []
        match: Json = {"path": path}
        if not allocation.name.startswith(ROLLOUT_PREFIX):
            match["headers"] = [{"name": UNIT_HEADER, **PRESENT}]
        total = sum(arm.weight for arm in allocation.arms)
        versions = [arm.version for arm in allocation.arms]
        limit_s = self._limit_s(versions)
        clusters = [
            {
                "name": cluster_name(self._name, arm.version),
                "weight": arm.weight,
                "request_headers_to_add": self._facts(
                    arm.version,
                    limit_s,
                    experiment=allocation.name,
                    arm=arm.name,
                    propensity=repr(arm.weight / total),
                ),
            }
            for arm in allocation.arms
        ]
        weighted = {"clusters": clusters, "use_hash_policy": True}
        action = self._action(versions) | {
            "weighted_clusters": weighted,
            "hash_policy": [_hash_of_unit(allocation)],
        }
        labels = route_labels(self._name, allocation.name)
        return [{"match": match, "route": action, **labels, **self._limit(self._model.default)}]

    def _version_route(self, match: Json, version: str) -> Json:
        if version in self._down:
            detail = f"{self._name} {public_version(version)} is not ready; try again."
            return answer(match, 503, detail)
        return {
            "match": match,
            "route": self._action([version]) | {"cluster": cluster_name(self._name, version)},
            "request_headers_to_add": self._facts(version, self._limit_s([version])),
            **route_labels(self._name),
            **self._limit(version),
        }

    def _limit(self, version: str) -> Json:
        return concurrency_limit(most_of_route(self._model, version, self._limits))

    def _settings(self, versions: Iterable[str]) -> list[WorkerSettings]:
        return [self._model.versions[version].settings for version in versions]

    def _limit_s(self, versions: Iterable[str]) -> float:
        return request_limit_s(self._settings(versions))

    def _action(self, versions: Iterable[str]) -> Json:
        settings = self._settings(versions)
        # The version header must not be removed after this: removals run before the rewrite,
        # the path would end in "/" and TorchServe would silently serve its own default.
        return {
            "path_rewrite": f"/predictions/{self._name}/%REQ({PATH_VERSION_HEADER})%",
            "timeout": seconds(request_limit_s(settings)),
            "retry_policy": retry_policy(try_limit_s(settings), retries(settings)),
        }

    def _facts(self, version: str, limit_s: float, **split: str) -> list[Json]:
        facts = {"release": str(self._number), **split, "version": version, **_times(limit_s)}
        # The order of the contract's example: version stands before propensity.
        order = ("release", "experiment", "arm", "version", "propensity", "t", "d")
        headers = _route_headers(version, {key: facts[key] for key in order if key in facts})
        # The path as it came, since headers are added before it is rewritten.
        query = [set_header(QUERY_HEADER, "%REQ(:PATH)%")] if self._parameters else []
        return [*headers, *query]


def _times(limit_s: float) -> dict[str, str]:
    """Return when the request was complete and how long the gateway waits; late work is dropped."""
    return {"t": _COMPLETE, "d": f"{limit_s:g}"}


def _route_headers(version: str, facts: Mapping[str, str]) -> list[Json]:
    text = ";".join(f"{key}={value}" for key, value in facts.items())
    headers = {ROUTE_HEADER: text, PATH_VERSION_HEADER: version, ARM_HEADER: facts.get("arm", "")}
    return [set_header(name, value) for name, value in headers.items() if value]


def _hash_of_unit(allocation: Allocation) -> Json:
    salt = allocation.salt.replace("\\", r"\\")
    salted = {"pattern": {"regex": "^(.*)$"}, "substitution": rf"{salt}:\1"}
    return {"header": {"header_name": UNIT_HEADER, "regex_rewrite": salted}}


def _in_body(value: Json) -> Json:
    return {"dynamic_metadata": [metadata_matcher("model_version", value)]}


def _in_header(value: Json) -> Json:
    return {"headers": [{"name": VERSION_HEADER, **value}]}


def _health(name: str, release: Release, unavailable: Collection[tuple[str, str]]) -> list[Json]:
    """The default model's default version answers a probe through its real queue and worker."""
    version = release.models[name].default
    checks = method_checks("/health", "GET")
    match = {"path": "/health"}
    if (name, version) in unavailable:
        detail = f"{name} {public_version(version)} is not ready; try again."
        return [*checks, answer(match, 503, detail)]
    probe = {
        "match": match,
        "route": {
            "cluster": UPSTREAM,
            "path_rewrite": f"/predictions/{name}/%REQ({PATH_VERSION_HEADER})%",
            "timeout": seconds(HEALTH_S),
            "retry_policy": retry_policy(HEALTH_S, 1),
        },
        "request_headers_to_add": _route_headers(version, {"probe": "1", **_times(HEALTH_S)}),
        "typed_per_filter_config": {CUSTOM_RESPONSE: hide_all_errors()},
    }
    return [*checks, probe]


def _unknown(deployed: Iterable[str]) -> list[Json]:
    models = ", ".join(sorted(deployed))
    any_model = {"safe_regex": {"regex": "/models/[^/]+/predict"}}
    paths = "POST /predict, POST /models/{name}/predict or GET /health"
    return [
        answer_unread(any_model, 404, f"This model is not deployed; there are: {models}."),
        answer_unread({"prefix": "/"}, 404, f"Nothing is at this path; ask for {paths}."),
    ]
