"""Refusals: problem documents, and the place that msgspec names as a JSON pointer."""

import msgspec
import pytest

from marloft.contract.predict_api import Refusal
from marloft.serving.refusals import Rejected, decode_json, refused


class Point(msgspec.Struct, forbid_unknown_fields=True):
    x: int


@pytest.mark.parametrize(
    ("data", "status", "pointer", "words"),
    [
        (b"[", 400, "", "The body is not JSON"),
        (b'[{"x": "a"}]', 422, "/part/0/x", "Expected 'int', got 'str'."),
        (b'[{"x": 1, "a/b": 1}]', 422, "/part/0/a~1b", "Unknown field 'a/b'. Allowed: x."),
        (b"[{}]", 422, "/part/0", "missing required field 'x'"),
        (b'[{"x": 1, "b - at `$.c`": 1}]', 422, "/part/0/b - at `$.c`", "Unknown field 'b - at"),
    ],
)
def test_fault_of_a_part_has_its_place_in_the_body(
    data: bytes, status: int, pointer: str, words: str
) -> None:
    with pytest.raises(Rejected) as refusal:
        decode_json(msgspec.json.Decoder(list[Point]), data, ["x"], "/part")
    assert (refusal.value.status, refusal.value.pointer) == (status, pointer)
    assert words in refusal.value.detail


def test_name_of_half_a_megabyte_is_not_sent_back() -> None:
    data = b'[{"%s": 1}]' % (b"k" * 500_000)
    with pytest.raises(Rejected) as refusal:
        decode_json(msgspec.json.Decoder(list[Point]), data, ["x"], "/part")
    assert len(refusal.value.detail) < 300
    assert len(refusal.value.pointer) < 300
    assert "kkk…" in refusal.value.detail


@pytest.mark.parametrize(("status", "listed"), [(422, True), (404, False)])
def test_only_an_invalid_request_lists_its_faults(status: int, listed: bool) -> None:
    problem = refused(Refusal(detail="wrong", pointer="/a", status=status)).problem("r-1")
    assert (problem.status, problem.detail, problem.request_id) == (status, "wrong", "r-1")
    assert (problem.errors is not None) is listed
