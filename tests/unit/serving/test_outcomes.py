"""The receiver of outcomes: a 202 is in the log, and a bad outcome is refused alone."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from marloft.logs.read import open_log
from marloft.serving.outcomes import OutcomeReceiver
from tests.unit.serving.driver import Sent, Server
from tests.unit.serving.writing import turn_into

CLICK = {"request_id": "r-1", "item_id": 50, "event": "click"}


@pytest.fixture
def receiver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setenv("MARLOFT_VAR", str(tmp_path / "var"))
    return Server(OutcomeReceiver(), tmp_path, tmp_path / "var", "outcomes")


def test_outcome_is_accepted_and_logged(receiver: Server) -> None:
    (answer,) = receiver.ask(CLICK | {"value": 2})
    assert (answer.status, answer.content_type) == (202, "application/json")
    assert answer.body == {"status": "accepted"}
    (record,) = receiver.records()
    assert record.pop("time").endswith("+00:00")
    assert record == {"schema": 1, **CLICK, "value": 2.0}


@pytest.mark.parametrize("value", ["benign", True, 3, 2.5])
def test_truth_about_an_answer_comes_back_as_it_is(
    receiver: Server, tmp_path: Path, value: Any
) -> None:
    label = {"request_id": "r-1", "event": "label", "value": value}
    (answer,) = receiver.ask(label)
    assert (answer.status, answer.body) == (202, {"status": "accepted"})
    (record,) = receiver.records()
    del record["time"]
    assert record == {"schema": 2, "item_id": None, **label}
    assert type(record["value"]) is type(value)
    with open_log(tmp_path / "var") as log:
        found = log.connection.execute("SELECT item_id, value, label FROM outcomes").fetchone()
    number = None if isinstance(value, str | bool) else value
    assert found == (None, number, json.dumps(value))


def test_bad_outcome_is_refused_alone(receiver: Server) -> None:
    answers = receiver.ask(CLICK, CLICK | {"evnt": "click"}, CLICK | {"item_id": "b-2"})
    assert [answer.status for answer in answers] == [202, 422, 202]
    assert answers[1].content_type == "application/problem+json"
    assert answers[1].body["errors"] == [
        {"pointer": "/evnt", "detail": "Unknown field 'evnt'. Did you mean 'event'?"}
    ]
    assert [record["item_id"] for record in receiver.records()] == [50, "b-2"]


def test_same_outcome_twice_is_accepted_and_logged_twice(receiver: Server) -> None:
    assert [answer.status for answer in receiver.ask(CLICK, CLICK)] == [202, 202]
    assert len(receiver.records()) == 2


@pytest.mark.parametrize(
    ("sent", "status", "words"),
    [
        (Sent(body=CLICK, content_type="text/plain"), 415, "send application/json"),
        (b"{", 400, "not JSON"),
        (b"", 400, "not JSON"),
        ([CLICK], 422, "Expected 'object', got 'array'"),
        ({"request_id": "r-1", "item_id": 1}, 422, "missing required field 'event'"),
        (CLICK | {"event": "Click"}, 422, "matching regex"),
        (CLICK | {"event": "click\n"}, 422, "matching regex"),
        (CLICK | {"event": "c" * 64}, 422, "matching regex"),
        (CLICK | {"request_id": "a b"}, 422, "matching regex"),
        (CLICK | {"item_id": ""}, 422, "length >= 1"),
        (CLICK | {"item_id": 2**64}, 422, "int"),
        (CLICK | {"value": ["much"]}, 422, "got 'array'"),
        (b'{"request_id":"r","item_id":1,"event":"click","value":1e999}', 422, "out of range"),
        (Sent(body=CLICK, headers={"x-marloft": "release=x"}), 400, "malformed"),
    ],
)
def test_refusal_says_what_is_wrong(receiver: Server, sent: Any, status: int, words: str) -> None:
    (answer,) = receiver.ask(sent)
    assert (answer.status, answer.content_type) == (status, "application/problem+json")
    assert words in answer.body["detail"]
    assert receiver.records() == []


def test_longest_event_is_accepted(receiver: Server) -> None:
    (answer,) = receiver.ask(CLICK | {"event": "c" * 63})
    assert answer.status == 202


def test_batch_is_written_with_one_system_call_before_the_answers(
    receiver: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    write, answer = os.write, OutcomeReceiver._answer

    def writing(file: int, data: bytes) -> int:
        order.append("write")
        return write(file, data)

    def answering(self: OutcomeReceiver, *arguments: Any) -> bytes:
        order.append("answer")
        return answer(self, *arguments)

    monkeypatch.setattr("marloft.serving.log.os.write", writing)
    monkeypatch.setattr(OutcomeReceiver, "_answer", answering)
    receiver.ask(CLICK, CLICK, CLICK)
    assert order == ["write", "answer", "answer", "answer"]


def test_outcome_that_cannot_be_logged_is_not_accepted(receiver: Server) -> None:
    turn_into(receiver.log, "/dev/full")
    lost, bad = receiver.ask(CLICK, b"{")
    assert (lost.status, bad.status) == (503, 400)
    assert "cannot be written: No space left on device" in lost.body["detail"]
    assert lost.headers["x-envoy-ratelimited"] == "1"
    assert (lost.headers["x-marloft-cause"], "x-marloft-cause" in bad.headers) == ("log", False)


def test_probe_is_answered_and_not_logged(receiver: Server) -> None:
    (answer,) = receiver.ask(Sent(body=b"", headers={"x-marloft": "probe=1"}))
    assert (answer.status, answer.body) == (200, {"status": "ok", "model_version": "v1.0"})
    assert receiver.records() == []


def test_readers_of_the_log_count_a_repeated_outcome_once(receiver: Server, tmp_path: Path) -> None:
    receiver.ask(CLICK, CLICK, CLICK | {"event": "conversion", "value": 3})
    with open_log(tmp_path / "var") as log:
        found = log.connection.execute("SELECT event, value FROM outcomes ORDER BY event")
        assert found.fetchall() == [("click", None), ("conversion", 3.0)]
        assert log.counts.outcome_lines == 3
