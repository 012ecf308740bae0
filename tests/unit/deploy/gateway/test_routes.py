import json
import re
from typing import Any

import msgspec
import pytest

from marloft.contract.predict_api import parse_route_header
from marloft.contract.release import Release
from marloft.deploy.gateway.routes import render_routes
from marloft.errors import ReleaseError

SETTINGS = {"sha256": "0" * 64, "settings": {}}


def model(allocation: str | None = None, **changes: Any) -> dict[str, Any]:
    arms = [
        {"name": "control", "version": "1.0", "weight": 1},
        {"name": "treatment", "version": "2.0", "weight": 2},
    ]
    split = allocation and {"name": allocation, "salt": "s\\1", "unit": "user_id", "arms": arms}
    versions = {"1.0": SETTINGS, "2.0": SETTINGS, "10.0": SETTINGS}
    return {"default": "1.0", "versions": versions, "allocation": split} | changes


def release(**models: Any) -> Release:
    facts = {"release": 7, "time": "", "actor": "", "reason": "", "default_model": "ranker"}
    return msgspec.convert(facts | {"models": {"ranker": model()} | models}, Release)


def routes(live: Release, *unavailable: tuple[str, str], path: str = "/predict") -> list[Any]:
    config = json.loads(render_routes(live, unavailable))["resources"][0]
    every = config["virtual_hosts"][0]["routes"]
    return [route for route in every if route["match"].get("path") == path]


def headers(entry: Any) -> dict[str, str]:
    options = entry.get("request_headers_to_add", [])
    return {option["header"]["key"]: option["header"]["value"] for option in options}


def arms(live: Release, *unavailable: tuple[str, str]) -> list[Any]:
    split = [r for r in routes(live, *unavailable) if "weighted_clusters" in r.get("route", {})]
    return split[0]["route"]["weighted_clusters"]["clusters"] if split else []


def detail(route: Any) -> str:
    return str(json.loads(route["direct_response"]["body"]["inline_string"])["detail"])


def test_arm_is_told_release_experiment_arm_version_and_propensity() -> None:
    control, treatment = arms(release(ranker=model("feed_ab")))
    assert (control["weight"], treatment["weight"]) == (1, 2)
    facts = parse_route_header(headers(treatment)["x-marloft"].split(";t=")[0])
    assert (facts.release, facts.experiment, facts.arm) == (7, "feed_ab", "treatment")
    assert facts.version == headers(treatment)["x-marloft-v"] == "2.0"
    assert facts.propensity == pytest.approx(2 / 3, abs=1e-15)


def test_arm_header_has_the_documented_text() -> None:
    control = arms(release(ranker=model("feed_ab")))[0]
    assert headers(control)["x-marloft"] == (
        "release=7;experiment=feed_ab;arm=control;version=1.0;"
        "propensity=0.3333333333333333;t=%EMIT_TIME(%s.%6f)%;d=21"
    )


def test_default_is_told_no_experiment() -> None:
    last = routes(release(ranker=model("feed_ab")))[-1]
    assert headers(last)["x-marloft"] == "release=7;version=1.0;t=%EMIT_TIME(%s.%6f)%;d=21"


@pytest.mark.parametrize(("name", "needs_user"), [("feed_ab", True), ("rollout-2.0", False)])
def test_split_needs_a_user_unless_it_is_a_rollout(name: str, needs_user: bool) -> None:
    split = routes(release(ranker=model(name)))[-2]
    assert ("headers" in split["match"]) is needs_user


def test_salt_cannot_refer_to_groups_of_the_rewrite() -> None:
    policy = routes(release(ranker=model("feed_ab")))[-2]["route"]["hash_policy"][0]["header"]
    assert policy["regex_rewrite"]["substitution"] == r"s\\1:\1"


def test_allocation_rests_while_one_of_its_arms_is_unavailable() -> None:
    live = release(ranker=model("feed_ab"))
    assert arms(live, ("ranker", "2.0")) == []
    assert len(arms(live, ("ranker", "10.0"))) == 2


def test_allocation_rests_with_an_arm_without_workers_that_keeps_its_own_route() -> None:
    live = release(ranker=model("feed_ab"))

    def found(*resting: tuple[str, str]) -> list[Any]:
        config = json.loads(render_routes(live, resting=resting))["resources"][0]
        return [r for r in config["virtual_hosts"][0]["routes"] if r["match"].get("path")]

    whole, rests = found(), found(("ranker", "2.0"))
    (split,) = [
        route for route in whole if route not in rests and route["match"]["path"] == "/predict"
    ]
    assert "weighted_clusters" in split["route"]
    assert [route for route in whole if route in rests] == rests
    assert found(("ranker", "1.0")) == whole, "the default's users have nowhere else to go"


def test_unavailable_version_answers_503_where_it_is_pinned_or_default() -> None:
    last = routes(release(), ("ranker", "1.0"))[-1]
    assert last["direct_response"]["status"] == 503
    assert "v1.0 is not ready" in detail(last)


def test_health_answers_503_while_the_default_version_is_unavailable() -> None:
    last = routes(release(), ("ranker", "1.0"), path="/health")[-1]
    assert last["direct_response"]["status"] == 503


def test_unknown_version_lists_versions_in_numeric_order() -> None:
    found = [r for r in routes(release()) if "direct_response" in r]
    assert any("ranker has: v1.0, v2.0, v10.0." in detail(route) for route in found)


def test_path_is_rewritten_from_the_version_header_that_stays() -> None:
    config = json.loads(render_routes(release()))["resources"][0]
    rewrite = routes(release())[-1]["route"]["path_rewrite"]
    assert rewrite == "/predictions/ranker/%REQ(x-marloft-v)%"
    assert "x-marloft-v" not in json.dumps(config["request_headers_to_remove"])


def test_outcomes_has_a_route_only_when_it_is_released() -> None:
    assert routes(release(), path="/outcomes") == []
    assert routes(release(outcomes=model()), path="/outcomes")


def test_other_content_types_are_allowed_where_the_archive_accepts_them() -> None:
    versions = {
        "1.0": SETTINGS | {"accepts": ["image/png", "application/x+y"]},
        "2.0": SETTINGS | {"accepts": ["image/png"]},
    }
    text = render_routes(release(ranker=model(versions=versions))).decode()
    assert "Content-Type must be application/x+y or image/png." in text
    assert r"(?i)application/x[+]y\\s*(;.*)?|(?i)image/png\\s*(;.*)?" in text


def test_only_json_is_allowed_where_no_archive_says_more() -> None:
    assert "Content-Type must be application/json." in render_routes(release()).decode()


def test_worker_is_told_how_long_the_route_waits() -> None:
    last = routes(release())[-1]
    facts = parse_route_header(re.sub("t=[^;]*", "t=100", headers(last)["x-marloft"]))
    assert last["route"]["timeout"] == f"{facts.limit_s:g}s"
    probe = headers(routes(release(), path="/health")[-1])["x-marloft"]
    assert probe == "probe=1;t=%EMIT_TIME(%s.%6f)%;d=1"


def test_every_model_has_a_path_and_only_the_default_one_has_predict() -> None:
    live = release(other=model())
    assert routes(live, path="/models/other/predict")
    assert all("other" not in json.dumps(route) for route in routes(live))


@pytest.mark.parametrize(
    "broken",
    [model(default="3.0"), model("feed_ab", versions={"1.0": SETTINGS})],
    ids=["default", "arm"],
)
def test_release_that_routes_to_a_version_it_lacks_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(ReleaseError, match=r"routes to version '[23]\.0', which it does not hold"):
        render_routes(release(ranker=broken))


def test_release_without_its_default_model_is_refused() -> None:
    live = msgspec.structs.replace(release(), default_model="ranked")
    with pytest.raises(ReleaseError, match="'ranked' is not among its models"):
        render_routes(live)


def test_query_reaches_every_version_of_a_model_whose_versions_take_parameters() -> None:
    versions = {
        "1.0": SETTINGS | {"parameters": ["top_k"]},
        "2.0": SETTINGS | {"parameters": ["language"]},
        "10.0": SETTINGS,
    }
    live = release(ranker=model("feed_ab", versions=versions))
    for arm in arms(live):
        assert headers(arm)["x-marloft-query"] == "%REQ(:PATH)%"
    led = [route for route in routes(live) if "cluster" in route.get("route", {})]
    assert len(led) == 7
    assert all("x-marloft-query" in headers(route) for route in led)
    refused = [detail(route) for route in routes(live) if route.get("name") == "refused-query"]
    assert any("language=…&top_k=…" in text for text in refused)


def test_routes_of_a_model_without_parameters_say_nothing_of_a_query() -> None:
    with_some = model(versions={"1.0": SETTINGS | {"parameters": ["top_k"]}})
    live = release(other=with_some)
    for route in routes(live):
        assert "name" not in route
        assert "x-marloft-query" not in headers(route)
    assert routes(live) == routes(release())
