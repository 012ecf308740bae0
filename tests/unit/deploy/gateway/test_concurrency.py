"""Each route has a limit of its own; that Envoy keeps it is test_gateway_chain's to show."""

import json
from typing import Any

from marloft.contract.release import Allocation, Arm, ReleasedModel
from marloft.deploy.gateway.clusters import most_requests, version_limits
from marloft.deploy.gateway.concurrency import COMPOSITE, concurrency_filter, concurrency_limit
from marloft.deploy.gateway.routes import render_routes
from tests.releases import made_release
from tests.unit.deploy.control.test_reconcile import pin

L = most_requests(pin("1.0").settings, None)


def limit_of(config: Any) -> int:
    """Return the limit that a route sets."""
    by_route = config["typed_per_filter_config"][COMPOSITE]
    filtered = by_route["xds_matcher"]["on_no_match"]["action"]["typed_config"]["typed_config"]
    controller = filtered["typed_config"]["gradient_controller_config"]
    largest = controller["concurrency_limit_params"]["max_concurrency_limit"]
    assert controller["min_rtt_calc_params"]["min_concurrency"] == largest, "it never adapts"
    return int(largest)


def model(weights: tuple[int, int] | None) -> ReleasedModel:
    """Return a model of two versions, both of them arms of a split, or the second by name only."""
    arms = [
        Arm(name=f"arm{version}", version=version, weight=weight)
        for version, weight in zip(("1.0", "2.0"), weights or (), strict=False)
    ]
    return ReleasedModel(
        default="1.0",
        versions={version: pin(version) for version in ("1.0", "2.0")},
        allocation=Allocation(name="test", salt="s", unit="user_id", arms=arms)
        if weights
        else None,
    )


def limits(weights: tuple[int, int] | None) -> list[int]:
    """Return the limits of a model's routes in their order."""
    (config,) = json.loads(render_routes(made_release({"ranker": model(weights)})))["resources"]
    routes = config["virtual_hosts"][0]["routes"]
    mine = [each for each in routes if each["match"].get("path") == "/predict"]
    return [limit_of(each) for each in mine if "route" in each]


def test_filter_alone_limits_nothing() -> None:
    (matcher,) = concurrency_filter()["typed_config"]["xds_matcher"]["matcher_list"]["matchers"]
    assert matcher["on_match"]["action"]["typed_config"]["@type"].endswith("SkipFilter")


def test_limit_is_what_is_asked_for() -> None:
    assert limit_of(concurrency_limit(7)) == 7


def test_route_to_a_named_version_has_the_limit_of_its_cluster() -> None:
    by_name = version_limits("ranker", model(None), {})["2.0"]
    assert limits(None)[:4] == [L, by_name] * 2, "by body and by header; 1.0 is the default"


def test_default_takes_what_its_version_does_and_a_split_what_all_arms_do() -> None:
    assert limits(None)[-1] == L, "before the cluster would refuse"
    assert limits((90, 10))[-2:] == [2 * L, 2 * L], "a canary that hangs keeps its own share only"


def test_probes_are_not_limited() -> None:
    one = ReleasedModel(default="1.0", versions={"1.0": pin("1.0")})
    (config,) = json.loads(render_routes(made_release({"ranker": one})))["resources"]
    routes = config["virtual_hosts"][0]["routes"]
    (probe,) = (r for r in routes if r["match"].get("path") == "/health" and "route" in r)
    assert COMPOSITE not in probe["typed_per_filter_config"]
