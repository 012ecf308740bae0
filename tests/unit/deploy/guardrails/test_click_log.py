"""What settled answers showed and earned, from logs on disk."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from marloft.deploy.guardrails.click_log import ClickLog, Shown
from marloft.monitoring.live import LiveSettings
from tests.unit.logs import typed


class Logs:
    """Both logs of one state folder, and a time that tests can move."""

    def __init__(self, var: Path) -> None:
        self.var = var
        self.log = ClickLog(var, LiveSettings(settle_s=10))
        self.start_s = time.time() + 0.01

    def answer(self, request_id: str, at_s: float = 0.0, **more: Any) -> None:
        moment = datetime.fromtimestamp(self.start_s + at_s, UTC).isoformat()
        record = {"time": moment, "request_id": request_id, "role": "answer", "status": 200}
        record |= {"user_id": "7", "model": "ranker", "release": 3, "experiment": "rollout-2.0"}
        record |= {"arm": "canary", "prediction": [5, 6, 7, 8]} | more
        self._append("predictions", record)

    def click(self, request_id: str, item: int | str | None, event: str = "click") -> None:
        self._append("outcomes", {"request_id": request_id, "item_id": item, "event": event})

    def settled(self, at_s: float) -> list[Shown]:
        return self.log.read_settled(self.start_s + at_s)

    def _append(self, kind: str, record: dict[str, Any]) -> None:
        path = self.var / "log" / kind / "a.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as stream:
            stream.write(json.dumps(record) + "\n")


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path)


def test_answer_settles_once_with_its_clicks(logs: Logs) -> None:
    logs.answer("a")
    logs.click("a", 6)
    assert logs.settled(9.9) == []
    logs.click("a", "7")
    (shown,) = logs.settled(10.1)
    assert shown == Shown(
        model="ranker",
        experiment="rollout-2.0",
        arm="canary",
        release=3,
        user="7",
        shown=3,
        clicked=2,
    )
    assert logs.settled(99) == []


def test_only_first_click_on_a_shown_item_counts(logs: Logs) -> None:
    logs.answer("a")
    for item, event in ((6, "click"), (6, "click"), (8, "click"), (5, "conversion")):
        logs.click("a", item, event)
    assert [each.clicked for each in logs.settled(10.1)] == [1]


def test_click_after_settling_is_too_late(logs: Logs) -> None:
    logs.answer("a")
    logs.settled(10.1)
    logs.click("a", 6)
    assert logs.settled(20) == []


def test_repeated_attempt_counts_once(logs: Logs) -> None:
    logs.answer("a", attempt=1)
    logs.answer("a", attempt=2, prediction=[9])
    assert [each.shown for each in logs.settled(10.1)] == [1]


def test_answers_outside_allocations_and_failures_are_left_out(logs: Logs) -> None:
    logs.answer("a", experiment=None, arm=None)
    logs.answer("b", status=500, prediction=None)
    logs.answer("c", role="shadow")
    logs.answer("d", at_s=-60)
    logs.answer("e", prediction="cat")
    assert [each.shown for each in logs.settled(10.1)] == [1]


@pytest.mark.parametrize(
    ("name", "items", "shown", "clicked"),
    [
        ("ranking", [2, "0", None], 3, 2),
        ("grades", [0, 3, 3, 4, "good", None], 4, 2),
        ("one-grade", [None, 0, "good"], 1, 1),
        ("vector", [0, 7], 1, 1),
        ("vectors", [1, 63], 2, 1),
        ("object", [None, "a"], 1, 1),
        ("one-number", ["2.5"], 1, 0),
        ("undeclared", [3, 0], 2, 1),
        ("undeclared-one", ["cat"], 1, 1),
    ],
)
def test_entries_are_those_of_the_declared_type(
    logs: Logs, name: str, items: list[Any], shown: int, clicked: int
) -> None:
    told = typed.record(name)
    answered: dict[str, Any] = {key: told.get(key) for key in ("prediction", "response", "entries")}
    logs.answer("a", **answered)
    for item in items:
        logs.click("a", item)
    (found,) = logs.settled(10.1)
    assert (found.shown, found.clicked) == (shown, clicked)
