import re
from typing import Any

import pytest

from marloft.deploy.gateway.operations import operations_clusters, operations_listener
from marloft.deploy.ports import Ports


@pytest.fixture
def routes() -> Any:
    listener = operations_listener(Ports(), "0.0.0.0")
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    return manager["route_config"]["virtual_hosts"][0]["routes"]


def test_every_route_that_leads_somewhere_takes_get_only(routes: Any) -> None:
    leading = [route for route in routes if "route" in route]
    assert leading
    for route in leading:
        assert route["match"]["headers"] == [{"name": ":method", "string_match": {"exact": "GET"}}]


def test_no_route_has_an_open_prefix_but_the_refusal(routes: Any) -> None:
    assert ["prefix" in route["match"] for route in routes] == [False] * (len(routes) - 1) + [True]
    assert routes[-1]["direct_response"]["status"] == 404


@pytest.mark.parametrize(
    ("path", "passed"),
    [
        ("/models", True),
        ("/models/ranker", True),
        ("/models/ranker/1.0", True),
        ("/models/ranker/all", True),
        ("/models/ranker/1.0/set-default", False),
        ("/models/..", False),
        ("/models//", False),
        ("/quitquitquit", False),
    ],
)
def test_models_path_reads_a_model_and_nothing_else(routes: Any, path: str, passed: bool) -> None:
    (regex,) = [r["match"]["safe_regex"]["regex"] for r in routes if "safe_regex" in r["match"]]
    assert bool(re.fullmatch(regex, path)) is passed


def test_every_upstream_is_on_loopback_at_its_shifted_port() -> None:
    found = {}
    for cluster in operations_clusters(Ports(offset=100)):
        endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
        address = endpoint["address"]["socket_address"]
        assert address["address"] == "127.0.0.1"
        found[cluster["name"]] = address["port_value"]
    assert found == {
        "torchserve_metrics": 8182,
        "torchserve_management": 8181,
        "envoy_admin": 10001,
        "exporter": 9202,
        "supervisor": 9203,
    }
