"""What the gateway really routes, read back from Envoy itself: only compared, never believed.

https://www.envoyproxy.io/docs/envoy/v1.37.0/operations/admin#get--config_dump
"""

from collections.abc import Mapping
from typing import Any

import httpx2
from msgspec import Struct

from marloft.contract.predict_api import ROUTE_HEADER
from marloft.deploy.gateway.envoy_config import METADATA, Json
from marloft.errors import ServingError

_DUMP = "/config_dump?resource=dynamic_route_configs"


class ModelRoutes(Struct, frozen=True, kw_only=True):
    """The routes of one model: by which release, who gets what; None: the default answers 503."""

    release: int
    default: str | None
    arms: dict[str, int]
    pinned: list[str]


def observe_routes(admin_port: int, *, answer_s: float = 5.0) -> dict[str, ModelRoutes]:
    """Return the routes in force, by model, from Envoy's admin interface.

    Raises:
        ServingError: Envoy does not answer.
    """
    try:
        response = httpx2.get(f"http://127.0.0.1:{admin_port}{_DUMP}", timeout=answer_s)
        response.raise_for_status()
    except httpx2.HTTPError as error:
        raise ServingError(
            f"Envoy's admin interface does not answer GET {_DUMP}: {error}."
        ) from error
    configs = [entry["route_config"] for entry in response.json().get("configs", [])]
    return model_routes([route for config in configs for route in _routes(config)])


def model_routes(routes: list[Json]) -> dict[str, ModelRoutes]:
    """Return what a list of Envoy's routes means, by model; refusals mean nothing here."""
    found: dict[str, ModelRoutes] = {}
    for route in routes:
        model = _label(route)
        if not model or route["match"].get("path") != f"/models/{model}/predict":
            continue
        known = found.get(model, ModelRoutes(release=0, default=None, arms={}, pinned=[]))
        found[model] = _with(known, route)
    return found


def _with(known: ModelRoutes, route: Json) -> ModelRoutes:
    weighted = route["route"].get("weighted_clusters")
    facts = _facts(weighted["clusters"][0] if weighted else route)
    default, arms, pinned = known.default, known.arms, known.pinned
    if weighted:
        arms = {_facts(arm)["version"]: int(arm["weight"]) for arm in weighted["clusters"]}
    elif set(route["match"]) == {"path"}:
        default = facts["version"]
    elif facts["version"] not in pinned:
        pinned = [*pinned, facts["version"]]
    number = max(known.release, int(facts["release"]))
    return ModelRoutes(release=number, default=default, arms=arms, pinned=pinned)


def _routes(config: Mapping[str, Any]) -> list[Json]:
    return [route for host in config.get("virtual_hosts", []) for route in host.get("routes", [])]


def _label(route: Json) -> str:
    labels = route.get("metadata", {}).get("filter_metadata", {}).get(METADATA, {})
    return str(labels.get("model", "")) if "route" in route else ""


def _facts(entry: Json) -> dict[str, str]:
    """Return the facts of the header that tells the handler what was meant."""
    (value,) = (
        added["header"]["value"]
        for added in entry["request_headers_to_add"]
        if added["header"]["key"] == ROUTE_HEADER
    )
    return dict(fact.split("=", maxsplit=1) for fact in value.split(";"))
