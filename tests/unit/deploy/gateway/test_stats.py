import json
from pathlib import Path
from typing import Any

from marloft.contract.manifest import WorkerSettings
from marloft.contract.release import Allocation, Arm, Release, ReleasedModel, ReleasedVersion
from marloft.deploy.gateway.bootstrap import render_bootstrap
from marloft.deploy.gateway.routes import render_routes
from marloft.deploy.ports import Ports
from tests.releases import made_release


def release() -> Release:
    blank = ReleasedVersion(sha256="0" * 64, settings=WorkerSettings())
    arms = [
        Arm(name="control", version="1.0", weight=50),
        Arm(name="treatment", version="2.0", weight=50),
    ]
    split = Allocation(name="feed_ab", salt="s", unit="user_id", arms=arms)
    model = ReleasedModel(default="1.0", versions={"1.0": blank, "2.0": blank}, allocation=split)
    return made_release({"ranker": model}, 1)


def upstream_routes() -> list[Any]:
    config = json.loads(render_routes(release()))["resources"][0]
    return [route for route in config["virtual_hosts"][0]["routes"] if "route" in route]


def headers(node: Any) -> dict[str, str]:
    return {h["header"]["key"]: h["header"]["value"] for h in node["request_headers_to_add"]}


def test_every_route_to_a_version_carries_its_models_name() -> None:
    predicting = [r for r in upstream_routes() if r["match"]["path"] != "/health"]
    assert len(predicting) > 4
    for route in predicting:
        assert route["metadata"]["filter_metadata"]["marloft"]["model"] == "ranker"


def test_weighted_route_carries_experiment_and_each_arm_its_name() -> None:
    weighted = [r for r in upstream_routes() if "weighted_clusters" in r["route"]]
    assert len(weighted) == 2
    for route in weighted:
        assert route["metadata"]["filter_metadata"]["marloft"]["experiment"] == "feed_ab"
        clusters = route["route"]["weighted_clusters"]["clusters"]
        assert [headers(c)["x-marloft-arm"] for c in clusters] == ["control", "treatment"]


def test_route_outside_the_experiment_names_no_arm() -> None:
    plain = [r for r in upstream_routes() if "request_headers_to_add" in r]
    assert all("x-marloft-arm" not in headers(route) for route in plain)


def test_clients_own_labels_are_removed_before_any_filter(tmp_path: Path) -> None:
    bootstrap = json.loads(render_bootstrap(Ports(), tmp_path / "routes.json"))
    listener = bootstrap["static_resources"]["listeners"][0]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    (early,) = manager["early_header_mutation_extensions"]
    (mutation,) = early["typed_config"]["mutations"]
    assert mutation["remove_on_match"]["key_matcher"]["prefix"] == "x-marloft"
