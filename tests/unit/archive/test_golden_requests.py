"""Golden requests are sent in every form that their archive accepts."""

import base64
from typing import Any

import msgspec
import pytest

from marloft.archive.golden_requests import http_requests, raw_type
from marloft.contract.manifest import GoldenAnswer
from marloft.contract.schema import Property, RowSchema
from marloft.errors import ConfigError

PNG, JSON = "image/png", "application/json"
IMAGE = Property(type="string", content_encoding="base64", content_media_type=PNG)
ROWS = RowSchema(row={"image": IMAGE, "zoom": Property(type="number", default=1.0)})
BODY = b"\x89PNG and more"


def _row(data: bytes = BODY, **more: Any) -> dict[str, Any]:
    return {"image": base64.b64encode(data).decode(), **more}


def _golden(*requests: dict[str, Any]) -> list[GoldenAnswer]:
    return [GoldenAnswer(request=request, expected={}) for request in requests]


def _kinds(accepts: list[str], *requests: dict[str, Any]) -> list[str]:
    sent = http_requests(_golden(*requests), accepts, ROWS)
    return [each.headers["content-type"] for each in sent]


def test_raw_body_is_the_bytes_with_the_rest_in_headers() -> None:
    golden = _golden({"features": [_row()], "user_id": 7, "request_id": "a", "model_version": None})
    (sent,) = http_requests(golden, [JSON, PNG], ROWS)
    assert sent.body == BODY
    assert sent.headers == {"content-type": PNG, "x-user-id": "7", "x-request-id": "a"}


def test_both_forms_take_turns_the_raw_one_first() -> None:
    one: dict[str, Any] = {"features": [_row()]}
    assert _kinds([JSON, PNG], one, one, one) == [PNG, JSON, PNG]
    assert _kinds([PNG], one, one) == [PNG, PNG]
    assert _kinds([JSON], one, one) == [JSON, JSON]


@pytest.mark.parametrize(
    "request_",
    [
        {"features": [_row(), _row()]},
        {"features": [_row(zoom=2.0)]},
        {"features": [_row(b"")]},
        {"features": [_row()], "note": "x"},
    ],
)
def test_request_that_bytes_cannot_say_stays_json(request_: dict[str, Any]) -> None:
    assert _kinds([JSON, PNG], request_, {"features": [_row(zoom=1.0)]}) == [JSON, PNG]


def test_field_that_clients_call_otherwise_is_found() -> None:
    image = Property(
        type=["string", None], content_encoding="base64", alias="my.image", default=None
    )
    zoom = Property(type="number", default=1, alias="my.zoom")
    schema = RowSchema(row={"image": image, "zoom": zoom})
    rows = [{"my.image": _row()["image"], "my.zoom": 1}, {"my.image": None}, {}]
    sent = http_requests(_golden(*({"features": [row]} for row in rows)), [PNG], schema)
    assert [each.headers["content-type"] for each in sent] == [PNG, JSON, JSON]
    assert sent[0].body == BODY


def test_code_that_reads_its_bodies_itself_gets_json() -> None:
    assert http_requests([], [JSON, PNG], None) == []


@pytest.mark.parametrize(
    ("accepts", "kind"),
    [([JSON], None), ([JSON, "image/gif", "Image/PNG"], PNG), (["image/gif"], "image/gif")],
)
def test_raw_type_is_the_fields_own_where_it_is_accepted(
    accepts: list[str], kind: str | None
) -> None:
    assert raw_type(accepts, ROWS) == kind


def test_type_that_no_field_takes_is_refused() -> None:
    with pytest.raises(ConfigError, match="0 fields have `contentEncoding: base64`"):
        raw_type([JSON, PNG], RowSchema(row={"n": Property(type="integer")}))


ASKED = RowSchema(
    row={"image": IMAGE},
    parameters={
        "top_k": Property(type="integer", default=1),
        "note": Property(type="string", default=""),
        "tags": Property(type="array", items=Property(type="string"), default=[]),
    },
)


def _asked(accepts: list[str], *parameters: dict[str, Any]) -> list[dict[str, str]]:
    golden = _golden(*({"features": [_row()], "parameters": each} for each in parameters))
    return [each.headers for each in http_requests(golden, accepts, ASKED)]


def test_parameters_of_raw_bodies_are_sent_as_query_and_as_headers_in_turn() -> None:
    given = {"top_k": 5, "note": "a&b", "tags": ["x"]}
    query, headers, again = _asked([PNG], given, given, given)
    assert (
        query
        == again
        == {
            "content-type": PNG,
            "x-marloft-query": "?top_k=5&note=a%26b&tags=%5B%22x%22%5D",
        }
    )
    assert headers == {
        "content-type": PNG,
        "x-parameter-top-k": "5",
        "x-parameter-note": "a&b",
        "x-parameter-tags": '["x"]',
    }


def test_query_and_headers_take_turns_although_json_is_sent_between() -> None:
    kinds = [set(each) for each in _asked([JSON, PNG], *[{"top_k": 5}] * 4)]
    query, header = {"content-type", "x-marloft-query"}, {"content-type", "x-parameter-top-k"}
    assert kinds == [query, {"content-type"}, header, {"content-type"}]


def test_parameters_of_json_are_in_its_body() -> None:
    golden = _golden({"features": [_row()], "parameters": {"top_k": 5}})
    (sent,) = http_requests(golden, [JSON], ASKED)
    assert sent.headers == {"content-type": JSON}
    assert msgspec.json.decode(sent.body) == golden[0].request


@pytest.mark.parametrize("note", ["größe", " a", "a\nb", ""])
def test_text_that_no_header_can_say_is_in_the_query(note: str) -> None:
    for headers in _asked([PNG], {"note": note}, {"note": note}):
        assert set(headers) == {"content-type", "x-marloft-query"}


def test_parameters_that_no_query_can_say_stay_json() -> None:
    (headers,) = _asked([JSON, PNG], {"note": "a" * 900})
    assert headers["content-type"] == JSON
    (fits,) = _asked([JSON, PNG], {"note": "a" * 700})
    assert fits["content-type"] == PNG


def test_body_without_parameters_has_no_header_for_them() -> None:
    assert _asked([PNG], {}) == [{"content-type": PNG}]
