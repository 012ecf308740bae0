"""The body of `POST /outcomes`: what is accepted, and that nothing else is."""

from typing import Any

import msgspec
import pytest

from marloft.contract.outcome_api import Outcome, OutcomeAccepted

GOOD = {"request_id": "b9e81e95-3eb4", "item_id": 50, "event": "click"}

CHANGES: list[dict[str, Any]] = [
    *({}, {"value": 2.5}, {"item_id": "film-50"}, {"event": "a_1"}, {"item_id": None}),
    *({"value": "benign"}, {"value": True}, {"value": 3}, {"value": ""}, {"value": -(2**63)}),
]


@pytest.mark.parametrize("changes", CHANGES)
def test_outcome_reads_back_as_it_was_sent(changes: dict[str, Any]) -> None:
    outcome = msgspec.convert(GOOD | changes, Outcome)
    assert msgspec.json.decode(msgspec.json.encode(outcome), type=Outcome) == outcome


@pytest.mark.parametrize("value", [True, 1, 1.5, "1"])
def test_value_stays_what_it_was(value: Any) -> None:
    found = msgspec.convert(GOOD | {"event": "label", "value": value}, Outcome).value
    assert (type(found), found) == (type(value), value)


def test_outcome_without_an_item_is_of_the_whole_answer() -> None:
    sent = {"request_id": "a", "event": "label", "value": 2}
    assert msgspec.convert(sent, Outcome).item_id is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("request_id", ""),
        ("request_id", "a b"),
        ("request_id", "x" * 129),
        ("item_id", ""),
        ("item_id", 1.5),
        ("item_id", 2**63),
        ("event", "Click"),
        ("event", "click\n"),
        ("event", ""),
        ("value", ["a"]),
        ("value", {"a": 1}),
        ("value", "x" * 1025),
        ("value", 2**63),
        ("colour", "red"),
    ],
)
def test_other_outcome_is_refused(field: str, value: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(GOOD | {field: value}), type=Outcome)


def test_answer_says_that_it_is_in_the_log() -> None:
    assert msgspec.json.encode(OutcomeAccepted()) == b'{"status":"accepted"}'
