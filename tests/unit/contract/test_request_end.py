"""Whose doing the end of a request was; a real Envoy says so in tests/e2e/test_gateway_chain.py."""

import pytest

from marloft.contract.request_end import end_of


@pytest.mark.parametrize(
    ("code", "flags", "cause", "end"),
    [
        ("200", "-", "", "answered"),
        ("422", "-", "", "answered"),
        ("500", "-", "", "failed"),
        ("503", "URX", "", "failed"),
        ("504", "UT", "", "unanswered"),
        ("504", "URX,UT", "", "unanswered"),
        ("503", "UO", "", "refused"),
        ("503", "URX", "queue", "refused"),
        ("504", "-", "late", "refused"),
        ("503", "-", "log", "excluded"),
        ("503", "UF", "", "excluded"),
        ("503", "URX,UC", "", "excluded"),
        ("429", "RL", "", "excluded"),
        ("0", "DC", "", "excluded"),
        ("408", "SI", "", "excluded"),
    ],
)
def test_end_is_whose_doing_it_was(code: str, flags: str, cause: str, end: str) -> None:
    assert end_of({"code": code, "flags": flags, "cause": cause}) == end


@pytest.mark.parametrize("flags", ["UT", "DC", "UPE"])
def test_answer_that_had_begun_is_the_versions_however_it_was_read(flags: str) -> None:
    assert end_of({"code": "200", "flags": flags, "cause": ""}) == "answered"


@pytest.mark.parametrize(("code", "end"), [("200", "answered"), ("503", "failed")])
def test_status_decides_where_a_gateway_says_no_more(code: str, end: str) -> None:
    assert end_of({"code": code}) == end
