"""The contract of `POST /predict`: users, headers, versions and the places of faults."""

from typing import Any

import msgspec
import pytest

from marloft.contract.predict_api import (
    NO_ROUTE,
    NodeBody,
    NodeFacts,
    PredictResponse,
    Problem,
    Refusal,
    RequestEnvelope,
    RouteFacts,
    bare_version,
    json_pointer,
    parse_route_header,
    public_version,
)

HEADER = (
    "release=7;experiment=feed_ab;arm=treatment;version=2.0;propensity=0.5;t=1764000000.123456;d=8"
)


@pytest.mark.parametrize("user", [7, -1, 2**63 - 1, "7", "a.b_c:d@e-f", "x" * 128])
def test_user_is_accepted(user: int | str) -> None:
    body = msgspec.json.encode({"features": [{}], "user_id": user})
    envelope = msgspec.json.decode(body, type=RequestEnvelope)
    assert envelope.user_id == user
    assert bytes(envelope.features) == b"[{}]"


@pytest.mark.parametrize("user", ["", "a b", "x" * 129, "é", 2**63, 1.5, [7], "7\n"])
def test_other_user_is_refused(user: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(
            msgspec.json.encode({"features": [], "user_id": user}), type=RequestEnvelope
        )


def test_unknown_field_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field `usr`"):
        msgspec.json.decode(b'{"features": [], "usr": 7}', type=RequestEnvelope)


def test_header_is_read_whole() -> None:
    assert parse_route_header(HEADER) == RouteFacts(
        release=7,
        experiment="feed_ab",
        arm="treatment",
        version="2.0",
        propensity=0.5,
        arrived_s=1764000000.123456,
        limit_s=8.0,
    )


@pytest.mark.parametrize("header", [None, ""])
def test_request_without_a_gateway_has_no_facts(header: str | None) -> None:
    assert parse_route_header(header) is NO_ROUTE


def test_key_of_a_newer_gateway_is_passed_over() -> None:
    assert parse_route_header("release=7;colour=red;") == RouteFacts(release=7)


@pytest.mark.parametrize("header", ["release=x", "propensity=nan", "t=inf", "d=-inf"])
def test_number_that_is_none_is_an_error(header: str) -> None:
    with pytest.raises(ValueError, match=r"invalid literal|must be a finite number"):
        parse_route_header(header)


@pytest.mark.parametrize(
    ("header", "traffic"), [("probe=1", False), ("check=1", False), ("", True)]
)
def test_questions_of_our_own_are_no_traffic(header: str, traffic: bool) -> None:
    assert parse_route_header(header).is_traffic is traffic


@pytest.mark.parametrize(
    ("facts", "now_s", "expired"),
    [
        (RouteFacts(arrived_s=100.0, limit_s=8.0), 108.0, False),
        (RouteFacts(arrived_s=100.0, limit_s=8.0), 108.1, True),
        (RouteFacts(arrived_s=100.0), 1e9, False),
        (RouteFacts(limit_s=8.0), 1e9, False),
    ],
)
def test_request_expires_with_the_gateways_patience(
    facts: RouteFacts, now_s: float, expired: bool
) -> None:
    assert facts.expired(now_s) is expired


@pytest.mark.parametrize(
    ("text", "version"),
    [("v1.0", "1.0"), ("1.0", "1.0"), ("v10.2", "10.2"), ("V1.0", None), ("1", None)],
)
def test_version_is_read_with_and_without_its_v(text: str, version: str | None) -> None:
    assert bare_version(text) == version


@pytest.mark.parametrize("text", ["1.0.0", "01.0", "v", "", "1.0\n", "vv1.0"])
def test_text_that_is_no_version_is_none(text: str) -> None:
    assert bare_version(text) is None


def test_public_version_is_read_back() -> None:
    assert bare_version(public_version("2.0")) == "2.0"


@pytest.mark.parametrize(
    ("path", "pointer"),
    [
        ("$", ""),
        ("$[3].item_id", "/3/item_id"),
        ("$.user_id", "/user_id"),
        ("$[...].tags[2]", "/.../tags/2"),
    ],
)
def test_path_of_a_fault_becomes_a_pointer(path: str, pointer: str) -> None:
    assert json_pointer(path) == pointer
    assert json_pointer(path, "/features") == f"/features{pointer}"


def test_facts_for_a_workflows_nodes_read_back() -> None:
    facts = NodeFacts(
        node="treatment",
        request_id="a",
        release=7,
        arrived_s=1.5,
        refusal=Refusal(detail="no", pointer="/features", status=422),
    )
    written = msgspec.json.encode(NodeBody(marloft=facts))
    assert b'"_marloft"' in written
    assert b'"t":1.5' in written
    assert msgspec.json.decode(written, type=NodeBody).marloft == facts


def test_answers_leave_out_what_they_have_not() -> None:
    answer = PredictResponse(
        prediction=[1], confidence=0.5, latency_ms=1.0, model_version="v1.0", request_id="a"
    )
    assert {"scores", "experiment"} & msgspec.to_builtins(answer).keys() == set()
    problem = Problem(title="No", status=404, detail="gone")
    assert msgspec.to_builtins(problem).keys() == {"title", "status", "detail"}
