"""Which request is refused before a route leads it to a version, and in which order."""

import json
from typing import Any

import pytest

from marloft.deploy.gateway.request_checks import body_checks, method_checks
from tests.unit.deploy.gateway.envoy_matchers import header_matches

PNG = "image/png"


def refusal(
    routes: list[Any], headers: dict[str, str], metadata: frozenset[str] = frozenset()
) -> Any:
    """Return the route that answers a request to /predict, None when none does."""
    for route in routes:
        match = route["match"]
        if (
            match["path"] == "/predict"
            and all(header_matches(wanted, headers) for wanted in match.get("headers", []))
            and all(m["path"][0]["key"] in metadata for m in match.get("dynamic_metadata", []))
        ):
            return route
    return None


def problem(route: Any) -> Any:
    return json.loads(route["direct_response"]["body"]["inline_string"])


def posted(content_type: str | None, path: str = "/predict") -> dict[str, str]:
    kind = {} if content_type is None else {"content-type": content_type}
    return {":method": "POST", ":path": path, **kind}


def test_other_methods_are_told_the_one_that_is_taken() -> None:
    found = refusal(method_checks("/predict", "GET"), {":method": "PUT", ":path": "/predict?a=1"})
    assert problem(found)["status"] == found["direct_response"]["status"] == 405
    assert problem(found)["detail"] == "/predict takes GET only."
    (allow,) = found["response_headers_to_add"]
    assert allow["header"] == {"key": "allow", "value": "GET"}


def test_query_parameters_are_refused_although_the_method_is_right() -> None:
    routes = method_checks("/predict", "GET")
    found = refusal(routes, {":method": "GET", ":path": "/predict?a=1"})
    assert problem(found)["status"] == 400
    assert "Query parameters are not taken" in problem(found)["detail"]
    assert refusal(routes, {":method": "GET", ":path": "/predict"}) is None


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", None),
        ("Application/JSON; charset=utf-8", None),
        (PNG, None),
        ("text/plain", 415),
        ("application/jsonl", 415),
        (None, 415),
    ],
)
def test_body_of_another_type_is_refused(content_type: str | None, status: int | None) -> None:
    found = refusal(body_checks("/predict", [PNG, "application/json"]), posted(content_type))
    if status is None:
        assert found is None
    else:
        assert problem(found)["status"] == status
        assert problem(found)["detail"] == "Content-Type must be image/png or application/json."


@pytest.mark.parametrize(("content_type", "status"), [("application/json", 400), (PNG, None)])
def test_broken_json_is_refused_where_json_was_said(content_type: str, status: int | None) -> None:
    routes = body_checks("/predict", ["application/json", PNG])
    found = refusal(routes, posted(content_type), frozenset({"malformed"}))
    assert (found and problem(found)["status"]) == status


def test_method_comes_before_query_before_type_before_body() -> None:
    routes = body_checks("/predict", ["application/json"])
    broken = frozenset({"malformed"})
    asked = [
        {":method": "PUT", ":path": "/predict?a", "content-type": "text/plain"},
        posted("text/plain", path="/predict?a"),
        posted("text/plain"),
        posted("application/json"),
    ]
    statuses = [problem(refusal(routes, headers, broken))["status"] for headers in asked]
    assert statuses == [405, 400, 415, 400]
