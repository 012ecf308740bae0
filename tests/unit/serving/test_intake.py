"""Intake: what is wrong with a request, where, and what is allowed."""

from typing import Any

import msgspec
import pytest

from harness import factories
from marloft.contract.predict_api import NO_ROUTE
from marloft.contract.schema import Property, RowSchema
from marloft.serving import Rejected
from marloft.serving.intake import Intake
from tests.unit.serving.driver import Sent, Server

GOOD = factories.body(7, [3])
TEXT = Property(type="string")


@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [
        (Sent(body=GOOD, content_type="text/csv"), 415, "send application/json"),
        (b"{", 400, "not JSON"),
        (b"", 400, "not JSON"),
        (b'{"features": ' + b"[" * 9000 + b"]" * 9000 + b"}", 400, "not JSON"),
        (b'{"features": [{"item_id": 01}]}', 400, "not JSON"),
        (Sent(body=GOOD, headers={"x-user-id": "8"}), 400, "send one of them"),
        (
            Sent(body=GOOD | {"model_version": "1.0"}, headers={"x-model-version": "2.0"}),
            400,
            "send one of them",
        ),
        (GOOD | {"model_version": "9.0"}, 404, "serves 'v1.0'"),
        (Sent(body=GOOD, headers={"x-model-version": "v9.0"}), 404, "serves 'v1.0'"),
    ],
)
def test_refusal_says_what_is_allowed(server: Server, sent: Any, status: int, words: str) -> None:
    (answer,) = server.ask(sent)
    assert (answer.status, answer.content_type) == (status, "application/problem+json")
    assert words in answer.body["detail"]


@pytest.mark.parametrize(
    ("body", "pointer", "words"),
    [
        ({"features": [{"item_id": 1}, {"item_ix": 1}]}, "/features/1/item_ix", "'item_id'"),
        ({"features": [{"item_id": 1, "a/b~c": 1}]}, "/features/0/a~1b~0c", "item_id"),
        ({"features": [{}]}, "/features/0", "missing required field 'item_id'"),
        ({"features": []}, "/features", "length >= 1"),
        ({"features": [{"item_id": 1}] * 61}, "/features", "length <= 60"),
        ({"features": [{"item_id": -1}]}, "/features/0/item_id", ">= 0"),
        ({"features": [{"item_id": 2**70}]}, "/features/0/item_id", "<= 9007199254740991"),
        ({"user_id": 7}, "", "missing required field 'features'"),
        (GOOD | {"usr_id": 7}, "/usr_id", "Did you mean 'user_id'"),
        (GOOD | {"user_id": True}, "/user_id", "got 'bool'"),
        (GOOD | {"user_id": "a b"}, "/user_id", "matching regex"),
        (GOOD | {"request_id": "a\r\nx: y"}, "/request_id", "matching regex"),
        ([], "", "Expected 'object'"),
    ],
)
def test_invalid_request_gets_the_place(
    server: Server, body: Any, pointer: str, words: str
) -> None:
    (answer,) = server.ask(body)
    assert answer.status == 422
    assert answer.body["errors"][0]["pointer"] == pointer
    assert words in answer.body["detail"]


@pytest.mark.parametrize("version", ["1.0", "v1.0"])
def test_own_version_may_be_pinned_with_or_without_v(server: Server, version: str) -> None:
    (answer,) = server.ask(Sent(body=GOOD, headers={"x-model-version": version}))
    assert answer.status == 200


def test_headers_that_repeat_the_body_are_fine(server: Server) -> None:
    (answer,) = server.ask(Sent(body=GOOD, headers={"x-user-id": "7"}))
    assert answer.status == 200


def test_user_in_the_header_counts(server: Server) -> None:
    sent = Sent(body=factories.body(None, [3]), headers={"x-user-id": "7"})
    (answer,) = server.ask(sent)
    assert answer.body["scores"] == pytest.approx(factories.score(7, [3]), abs=1e-6)


def test_request_id_is_the_bodys_then_the_headers_then_torchserves(server: Server) -> None:
    header = {"x-request-id": "header"}
    answers = server.ask(
        Sent(body=GOOD | {"request_id": "body"}, headers=header),
        Sent(body=GOOD, headers=header),
        Sent(body=GOOD, headers={"x-request-id": "not allowed"}),
    )
    assert [answer.body["request_id"] for answer in answers] == ["body", "header", "ts-2"]


def test_content_type_may_have_parameters(server: Server) -> None:
    (answer,) = server.ask(Sent(body=GOOD, content_type="Application/JSON; charset=utf-8"))
    assert answer.status == 200


def test_body_of_many_lines_stays_one_line_of_the_log(server: Server) -> None:
    pretty = b'{"user_id": 7,\r\n "features": [\n  {"item_id":\n 3},\r\n  {"item_id": 4}\n ]}'
    (answer,) = server.ask(pretty)
    assert answer.status == 200
    (record,) = server.records()
    assert record["features"] == [{"item_id": 3}, {"item_id": 4}]


def test_text_that_is_not_utf8_is_not_json() -> None:
    intake = Intake(RowSchema(row={"name": Property(type="string")}), "1.0")
    row = {"body": b'{"features": [{"name": "\xff"}]}'}
    with pytest.raises(Rejected, match="not JSON") as refusal:
        intake.read(row, {"content-type": "application/json"}, NO_ROUTE, "r")
    assert refusal.value.status == 400


def test_body_that_torchserve_decoded_is_read_too() -> None:
    intake = Intake(RowSchema(row={"name": Property(type="string")}), "1.0")
    row = {"body": {"features": [{"name": "x"}], "user_id": 7}}
    request = intake.read(row, {"content-type": "application/json"}, NO_ROUTE, "r")
    assert (request.column("name"), request.user_id) == (["x"], "7")


NESTED = Intake(
    RowSchema(
        row={
            "home_dest": Property(type="string", alias="home.dest", enum=["Zurich", "Basel"]),
            "address": Property(
                type="object",
                properties={"zip_code": Property(type="integer", alias="zip"), "city": TEXT},
            ),
            "tags": Property(type="array", items=TEXT, max_items=2),
            "counts": Property(type="object", additional_properties=Property(type="integer")),
            "age": Property(type=["number", None], default=None),
        }
    ),
    "1.0",
)
FITTING: dict[str, Any] = {
    "home.dest": "Basel",
    "address": {"zip": 4000, "city": "Basel"},
    "tags": ["a"],
    "counts": {"x": 1},
}


@pytest.mark.parametrize(
    ("changed", "pointer", "words"),
    [
        ({"home_dest": "Basel"}, "/features/0/home_dest", "Did you mean 'home.dest'?"),
        ({"home.dest": "Basle"}, "/features/0/home.dest", "Did you mean 'Basel'?"),
        ({"address": {"zip_code": 1, "city": "x"}}, "/features/0/address/zip_code", "'zip_code'"),
        ({"address": {"zip": 1, "cty": "x"}}, "/features/0/address/cty", "Did you mean 'city'?"),
        ({"address": {"city": "x"}}, "/features/0/address", "missing required field 'zip'"),
        ({"address": {"zip": "1", "city": "x"}}, "/features/0/address/zip", "Expected 'int'"),
        ({"tags": ["a", 3]}, "/features/0/tags/1", "Expected 'str', got 'int'"),
        ({"tags": ["a", "b", "c"]}, "/features/0/tags", "length <= 2"),
        ({"counts": {"x": 1, "y/z": 1.5}}, "/features/0/counts/y~1z", "got 'float'"),
        ({"age": "old"}, "/features/0/age", "Expected 'float | null', got 'str'"),
    ],
)
def test_place_in_nested_fields_is_the_clients(changed: Any, pointer: str, words: str) -> None:
    row = {"body": msgspec.json.encode({"features": [FITTING | changed]})}
    with pytest.raises(Rejected) as refused:
        NESTED.read(row, {"content-type": "application/json"}, NO_ROUTE, "r")
    assert (refused.value.status, refused.value.pointer) == (422, pointer)
    assert words in refused.value.detail


def test_handlers_read_nested_fields_by_their_python_names() -> None:
    row = {"body": msgspec.json.encode({"features": [FITTING]})}
    request = NESTED.read(row, {"content-type": "application/json"}, NO_ROUTE, "r")
    assert request.column("home_dest") == ["Basel"]
    assert request.rows[0].address.zip_code == 4000
    assert (request.rows[0].counts, request.rows[0].age) == ({"x": 1}, None)
    assert b'"home.dest"' in bytes(request.features)
