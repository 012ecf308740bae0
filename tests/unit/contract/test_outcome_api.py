"""The body of `POST /outcomes`: what is accepted, and that nothing else is."""

from typing import Any

import msgspec
import pytest

from marloft.contract.outcome_api import Outcome, OutcomeAccepted

GOOD = {"request_id": "b9e81e95-3eb4", "item_id": 50, "event": "click"}


@pytest.mark.parametrize("changes", [{}, {"value": 2.5}, {"item_id": "film-50"}, {"event": "a_1"}])
def test_outcome_reads_back_as_it_was_sent(changes: dict[str, Any]) -> None:
    outcome = msgspec.convert(GOOD | changes, Outcome)
    assert msgspec.json.decode(msgspec.json.encode(outcome), type=Outcome) == outcome


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
        ("value", "much"),
        ("colour", "red"),
    ],
)
def test_other_outcome_is_refused(field: str, value: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode(GOOD | {field: value}), type=Outcome)


def test_answer_says_that_it_is_in_the_log() -> None:
    assert msgspec.json.encode(OutcomeAccepted()) == b'{"status":"accepted"}'
