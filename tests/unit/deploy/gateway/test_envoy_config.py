"""The terms that Envoy's files are made of; that Envoy takes them is test_bootstrap's to show."""

import re

import pytest

from marloft.contract.predict_api import UNIT_PATTERN
from marloft.deploy.gateway.envoy_config import (
    ARM_HEADER,
    HAS_QUERY_REGEX,
    PATH_VERSION_HEADER,
    PRESENT,
    UNIT_HEADER,
    UNIT_REGEX,
    address,
    cluster,
    content_type_regex,
    extension,
    has_form,
    metadata_matcher,
    set_header,
)
from tests.unit.deploy.gateway.envoy_matchers import re2_matches


@pytest.mark.parametrize(
    ("value", "taken"),
    [
        ("application/json", True),
        ("Application/JSON", True),
        ("application/json; charset=utf-8", True),
        ("application/json ;charset=utf-8", True),
        ("image/png", True),
        ("application/x+y", True),
        ("application/xxy", False),
        ("application/vnd.a", True),
        ("application/vndxa", False),
        ("application/jsonl", False),
        ("text/application/json", False),
        ("", False),
    ],
)
def test_content_type_is_taken_in_any_case_and_with_parameters(value: str, taken: bool) -> None:
    types = ["application/json", "image/png", "application/x+y", "application/vnd.a"]
    assert re2_matches(content_type_regex(types), value) is taken


@pytest.mark.parametrize(
    "unit", ["7", "a.b_c:d@e-f", "A" * 128, "A" * 129, "", "a b", "a\n", "a\r\nb", "ä", "a/b"]
)
def test_gateway_and_worker_agree_on_the_form_of_a_unit(unit: str) -> None:
    assert re2_matches(UNIT_REGEX, unit) is bool(re.match(UNIT_PATTERN, unit))


def test_expression_for_units_has_no_anchor_that_re2_lacks() -> None:
    assert UNIT_REGEX == "[A-Za-z0-9._:@-]{1,128}"


@pytest.mark.parametrize(
    ("path", "found"), [("/predict", False), ("/predict?", True), ("/predict?a=1?b", True)]
)
def test_query_is_found_in_a_path(path: str, found: bool) -> None:
    assert re2_matches(HAS_QUERY_REGEX, path) is found


def test_gateways_own_headers_are_the_documented_ones() -> None:
    assert (PATH_VERSION_HEADER, ARM_HEADER) == ("x-marloft-v", "x-marloft-arm")
    assert UNIT_HEADER.startswith("x-marloft"), "what a client sends under that name is dropped"


def test_form_is_a_matcher_of_the_whole_value() -> None:
    assert has_form("a+") == {"safe_regex": {"regex": "a+"}}


@pytest.mark.parametrize("invert", [True, False])
def test_body_field_is_matched_where_the_filter_copied_it(invert: bool) -> None:
    assert metadata_matcher("user_id", PRESENT, invert=invert) == {
        "filter": "marloft",
        "path": [{"key": "user_id"}],
        "value": {"present_match": True},
        "invert": invert,
    }


def test_header_is_overwritten_unless_it_is_said_otherwise() -> None:
    header = {"key": "allow", "value": "GET"}
    assert set_header("allow", "GET") == {
        "header": header,
        "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
    }
    assert set_header("allow", "GET", "ADD_IF_ABSENT")["append_action"] == "ADD_IF_ABSENT"


def test_extension_names_its_type() -> None:
    assert extension("a.b", "filters.http.b.v3.B", limit=1) == {
        "name": "a.b",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.b.v3.B",
            "limit": 1,
        },
    }


def test_address_is_a_socket() -> None:
    assert address("0.0.0.0", 8000) == {
        "socket_address": {"address": "0.0.0.0", "port_value": 8000}
    }


def test_upstream_has_one_endpoint_and_it_is_on_loopback() -> None:
    found = cluster("torchserve", 8080)
    assert (found["name"], found["type"], found["connect_timeout"]) == (
        "torchserve",
        "STATIC",
        "0.5s",
    )
    assert found["load_assignment"] == {
        "cluster_name": "torchserve",
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address("127.0.0.1", 8080)}}]}],
    }
