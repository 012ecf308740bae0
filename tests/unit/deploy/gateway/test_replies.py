"""What the gateway answers by itself; the few filters of Envoy that decide it are played here.

That Envoy decides the same is tests/e2e/test_gateway_chain.py's to show.
"""

import json
from typing import Any

import pytest
from msgspec import Struct

from marloft.contract.predict_api import FieldError
from marloft.deploy.gateway.replies import (
    answer,
    hide_all_errors,
    hide_server_errors,
    local_reply_config,
    problem_text,
)
from tests.unit.deploy.gateway.envoy_matchers import header_matches, string_matches

FORM = "must be 1 to 128 characters of A-Z a-z 0-9 . _ : @ -"
RETRY = {"key": "retry-after", "value": "1"}


class Reply(Struct, frozen=True, kw_only=True):
    """One answer that Envoy is about to give by itself, `route` the name of the one it is from."""

    status: int
    route: str = ""
    headers: dict[str, str] = {}
    body: dict[str, str] = {}
    flagged: bool = False
    overflow: bool = False


def fits(condition: Any, reply: Reply) -> bool:
    """Whether an access log filter of Envoy's fits."""
    ((kind, wanted),) = condition.items()
    if kind == "and_filter":
        return all(fits(each, reply) for each in wanted["filters"])
    if kind == "status_code_filter":
        assert wanted["comparison"]["op"] == "EQ"
        return bool(reply.status == wanted["comparison"]["value"]["default_value"])
    if kind == "response_flag_filter":
        return reply.overflow if "flags" in wanted else reply.flagged
    if kind == "header_filter":
        return header_matches(wanted["header"], reply.headers)
    if kind == "extension_filter":
        return bool(wanted["typed_config"]["expression"] == f"xds.route_name == '{reply.route}'")
    assert kind == "metadata_filter"
    return metadata_fits(wanted, reply)


def metadata_fits(wanted: Any, reply: Reply) -> bool:
    matcher = wanted["matcher"]
    value = reply.body.get(matcher["path"][0]["key"])
    if value is None:
        return bool(wanted["match_if_key_not_found"])
    form = matcher["value"].get("string_match")
    return form is None or string_matches(form, value)


def mapped(reply: Reply) -> Any:
    """Return the mapper that decides, None when the general form is used."""
    mappers = local_reply_config(1 << 20)["mappers"]
    return next((mapper for mapper in mappers if fits(mapper["filter"], reply)), None)


@pytest.mark.parametrize(
    ("reply", "status", "detail"),
    [
        (Reply(status=403, body={"user_id": "a b"}), 422, f"user_id {FORM}."),
        (Reply(status=403, body={"request_id": "a b"}), 422, f"request_id {FORM}."),
        (
            Reply(status=403, body={"request_id": "a b", "user_id": "7"}),
            422,
            f"request_id {FORM}.",
        ),
        (
            Reply(status=403, body={"request_id": "a", "user_id": "a b"}),
            422,
            f"user_id {FORM}.",
        ),
        (
            Reply(status=403, headers={"x-user-id": "a b"}, body={"user_id": "7"}),
            400,
            f"Header x-user-id {FORM}.",
        ),
        (
            Reply(status=403, headers={"x-user-id": "7", "x-request-id": "a b"}),
            400,
            f"Header x-request-id {FORM}.",
        ),
        (
            Reply(status=400, headers={":path": "/predict?a=1"}, body={"malformed": "yes"}),
            400,
            "Query parameters are not taken; put everything into the body.",
        ),
        (
            Reply(status=400, headers={":path": "/predict"}, body={"malformed": "yes"}),
            400,
            "The request body is not JSON as the gateway reads it (integers of 64 bits, no NaN).",
        ),
        (
            Reply(
                status=400,
                route="refused-json",
                headers={":path": "/predict?a=1"},
                body={"malformed": "yes"},
            ),
            400,
            "The request body is not JSON as the gateway reads it (integers of 64 bits, no NaN).",
        ),
        (
            Reply(status=400, headers={":path": "/predict?a=1#b"}),
            400,
            "The URL has a fragment; percent-encode the # if it belongs to a value, else drop it.",
        ),
        (
            Reply(status=413),
            413,
            "The request body is larger than 1048576 bytes; send fewer rows.",
        ),
        (
            Reply(status=429, flagged=True),
            429,
            "More requests in a second than %METADATA(ROUTE:marloft:model)% takes from one client "
            "or from all of them; send them more slowly.",
        ),
        (Reply(status=504), 504, "The model server did not answer in time; try again."),
        (
            Reply(status=503, flagged=True, overflow=True),
            503,
            "More requests than %METADATA(ROUTE:marloft:model)% can answer in time; this one was "
            "refused at once, try again later.",
        ),
        (
            Reply(status=423),
            503,
            "More requests than %METADATA(ROUTE:marloft:model)% can answer in time; this one was "
            "refused at once, try again later.",
        ),
        (Reply(status=404, flagged=True), 503, "The model server could not answer; try again."),
        (Reply(status=502, flagged=True), 503, "The model server could not answer; try again."),
        (Reply(status=503, flagged=True), 503, "The model server could not answer; try again."),
    ],
)
def test_envoys_own_answer_becomes_a_problem(reply: Reply, status: int, detail: str) -> None:
    found = mapped(reply)
    document = found["body_format_override"]["json_format"]
    assert (found["status_code"], document["status"]) == (status, status)
    assert document["detail"] == detail
    assert document["type"] == "about:blank"
    assert document["title"] == json.loads(problem_text(status, ""))["title"]
    assert document["request_id"] == "%REQ(x-request-id)%"
    assert found["body_format_override"]["content_type"] == "application/problem+json"


def test_overflow_is_told_from_other_failures_by_its_flag_and_says_when_to_come_again() -> None:
    found = mapped(Reply(status=503, flagged=True, overflow=True))
    assert {"response_flag_filter": {"flags": ["UO"]}} in found["filter"]["and_filter"]["filters"]
    assert [each["header"] for each in found["headers_to_add"]] == [RETRY]


def test_field_of_bad_form_is_named_by_its_pointer() -> None:
    found = mapped(Reply(status=403, body={"user_id": "a b"}))
    (error,) = found["body_format_override"]["json_format"]["errors"]
    assert error == {"pointer": "/user_id", "detail": FORM}


@pytest.mark.parametrize("status", [404, 405, 415, 503])
def test_routes_own_document_is_passed_on_as_it_is(status: int) -> None:
    found = mapped(Reply(status=status))
    assert "status_code" not in found
    assert found["body_format_override"] == {
        "text_format_source": {"inline_string": "%LOCAL_REPLY_BODY%"},
        "content_type": "application/problem+json",
    }


def test_refusal_of_a_query_is_passed_on_where_a_route_says_what_is_allowed() -> None:
    asked = {":path": "/predict?a=1"}
    passed = mapped(Reply(status=400, route="refused-query", headers=asked))
    assert "json_format" not in passed["body_format_override"]
    by_envoy = mapped(Reply(status=400, headers=asked))
    assert "json_format" in by_envoy["body_format_override"]


@pytest.mark.parametrize(("status", "again"), [(503, True), (504, True), (413, False)])
def test_who_may_try_again_is_told_when(status: int, again: bool) -> None:
    added = mapped(Reply(status=status, flagged=True)).get("headers_to_add", [])
    assert [each["header"] for each in added] == ([RETRY] if again else [])


@pytest.mark.parametrize("status", [431, 400, 502])
def test_anything_else_is_a_problem_too(status: int) -> None:
    assert mapped(Reply(status=status)) is None
    assert local_reply_config(1)["body_format"]["json_format"] == {
        "type": "about:blank",
        "title": "Refused by the gateway",
        "status": "%RESPONSE_CODE%",
        "detail": "%RESPONSE_CODE_DETAILS%",
        "request_id": "%REQ(x-request-id)%",
    }


def test_problem_is_compact_json() -> None:
    errors = [FieldError(pointer="/user_id", detail="wrong")]
    assert json.loads(problem_text(422, "no", errors)) == {
        "title": "Unprocessable Content",
        "status": 422,
        "detail": "no",
        "errors": [{"pointer": "/user_id", "detail": "wrong"}],
    }
    assert problem_text(404, "no") == '{"title":"Not Found","status":404,"detail":"no"}'


@pytest.mark.parametrize(
    ("status", "title"),
    [
        (400, "Bad Request"),
        (404, "Not Found"),
        (405, "Method Not Allowed"),
        (413, "Content Too Large"),
        (415, "Unsupported Media Type"),
        (422, "Unprocessable Content"),
        (503, "Service Unavailable"),
        (504, "Gateway Timeout"),
    ],
)
def test_titles_are_those_of_rfc_9110(status: int, title: str) -> None:
    assert json.loads(problem_text(status, "no"))["title"] == title


@pytest.mark.parametrize(("status", "added"), [(503, [RETRY]), (404, [])])
def test_answer_of_a_route_asks_no_upstream(status: int, added: list[Any]) -> None:
    route = answer({"path": "/health"}, status, "not now")
    assert (route["match"], "route" in route) == ({"path": "/health"}, False)
    assert route["direct_response"]["status"] == status
    assert json.loads(route["direct_response"]["body"]["inline_string"])["detail"] == "not now"
    assert [each["header"] for each in route.get("response_headers_to_add", [])] == added


def replacement(policy: Any, status: int, content_type: str) -> Any:
    """Return what a custom response policy puts in place of an upstream's answer, or None."""
    seen = {
        "HttpResponseStatusCodeClassMatchInput": f"{status // 100}xx",
        "HttpResponseStatusCodeMatchInput": str(status),
        "HttpResponseHeaderMatchInput": content_type,
    }

    def holds(predicate: Any) -> bool:
        ((kind, wanted),) = predicate.items()
        if kind == "not_matcher":
            return not holds(wanted)
        if kind == "single_predicate":
            source = wanted["input"]
            assert source["typed_config"].get("header_name", "content-type") == "content-type"
            return bool(seen[source["name"]] == wanted["value_match"]["exact"])
        every = {"and_matcher": all, "or_matcher": any}[kind]
        return every(holds(each) for each in wanted["predicate"])

    for matcher in policy["custom_response_matcher"]["matcher_list"]["matchers"]:
        if holds(matcher["predicate"]):
            return matcher["on_match"]["action"]["typed_config"]
    return None


@pytest.mark.parametrize(
    ("status", "content_type", "hidden"),
    [
        (200, "application/json", False),
        (422, "application/problem+json", False),
        (500, "application/json", True),
        (507, "text/plain", True),
        (503, "application/problem+json", False),
        (404, "application/json", True),
        (404, "application/problem+json", False),
        (400, "application/json", False),
    ],
)
def test_torchserves_own_errors_are_hidden_and_the_handlers_passed_on(
    status: int, content_type: str, hidden: bool
) -> None:
    assert bool(replacement(hide_server_errors(), status, content_type)) is hidden


@pytest.mark.parametrize(
    ("status", "content_type", "hidden"),
    [
        (200, "application/json", False),
        (422, "application/problem+json", True),
        (500, "application/problem+json", True),
        (503, "application/json", True),
        (503, "application/problem+json", False),
    ],
)
def test_every_answer_but_a_good_one_and_a_handlers_reason_is_hidden_from_the_health_check(
    status: int, content_type: str, hidden: bool
) -> None:
    assert bool(replacement(hide_all_errors(), status, content_type)) is hidden


@pytest.mark.parametrize("policy", [hide_all_errors(), hide_server_errors()])
def test_hidden_answer_is_a_503_problem(policy: Any) -> None:
    action = replacement(policy, 507, "text/plain")
    document = json.loads(action["body"]["inline_string"])
    assert (action["status_code"], document["status"]) == (503, 503)
    assert [each["header"] for each in action["response_headers_to_add"]] == [RETRY]


def test_full_queue_is_told_from_a_worker_that_dies() -> None:
    headers = [
        [each["header"] for each in found["response_headers_to_add"]]
        for status in (503, 500, 507)
        if (found := replacement(hide_server_errors(), status, "application/json"))
    ]
    assert headers == [[RETRY, {"key": "x-marloft-cause", "value": "queue"}], [RETRY], [RETRY]]
