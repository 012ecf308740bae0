"""The views follow the declared type of an answer; undeclared records are read as before."""

from pathlib import Path
from typing import Any

import pytest

from marloft.contract.shown import shown_of
from tests.unit.logs import typed
from tests.unit.logs.test_read import outcome, rows, write


@pytest.fixture
def all_types(tmp_path: Path) -> Path:
    """A log of answers of all types."""
    write(tmp_path, "predictions", typed.records())
    return tmp_path


POSITIONS: list[tuple[str, Any, int | None]] = [
    *(("ranking", 2, 1), ("ranking", "0", 2), ("ranking", 3, None), ("ranking", None, None)),
    *(("grades", 0, 1), ("grades", "3", 4), ("grades", 4, None), ("grades", "good", None)),
    *(("grades", None, None), ("grades", -1, None), ("grades", "01", None)),
    *(("grades", "9999999999", None), ("grades", "1" * 30, None)),
    *(("one-grade", None, 1), ("one-grade", 0, 1), ("one-grade", "good", None)),
    *(("numbers", 1, 2), ("numbers", "5.0", None), ("one-number", None, 1)),
    *(("vector", 0, 1), ("vector", None, 1), ("vector", 1, None), ("vectors", 1, 2)),
    *(("object", None, 1), ("object", "a", None), ("object", 1, None), ("objects", "b", None)),
    *(("undeclared", 3, 2), ("undeclared", 0, None), ("undeclared", None, None)),
    *(("undeclared-one", "cat", 1), ("undeclared-one", 0, None)),
]


@pytest.mark.parametrize(("request_id", "item_id", "position"), POSITIONS)
def test_position_is_that_of_the_declared_type(
    all_types: Path, request_id: str, item_id: Any, position: int | None
) -> None:
    write(all_types, "outcomes", [outcome(request_id, item_id)])
    assert rows(all_types, "SELECT position FROM answered_outcomes") == [(position,)]
    # Readers that follow the log say the same.
    found = next(each for each in typed.records() if each["request_id"] == request_id)
    shown = shown_of(found["prediction"], found.get("response"), found.get("entries"))
    place = shown.place_of(item_id)
    assert place == (None if position is None else position - 1)


def test_entries_that_are_shown_are_those_of_the_declared_type(all_types: Path) -> None:
    query = "SELECT request_id, shown_entries(response, entries, prediction, 3) FROM predictions"
    assert dict(rows(all_types, query)) == {
        "ranking": 3,
        "grades": 4,
        "one-grade": 1,
        "yes-no": 2,
        "numbers": 2,
        "one-number": 1,
        "vector": 1,
        "vectors": 2,
        "object": 1,
        "objects": 2,
        "undeclared": 2,
        "undeclared-one": 1,
    }
    cut = "SELECT shown_entries(response, entries, prediction, 1) FROM predictions"
    assert rows(all_types, f"{cut} WHERE request_id IN ('ranking', 'undeclared')") == [(1,), (1,)]


def test_what_a_type_has_beside_its_prediction_is_a_column(all_types: Path) -> None:
    query = 'SELECT response, confidence, probabilities, "interval" FROM predictions WHERE '
    assert rows(all_types, f"{query} request_id = 'one-grade'") == [
        ("classification", "0.7", '{"bad":0.3,"good":0.7}', None)
    ]
    assert rows(all_types, f"{query} request_id = 'one-number'") == [
        ("regression", None, None, "[1.0,3.0]")
    ]
    assert rows(all_types, f"{query} request_id = 'undeclared'") == [(None, None, None, None)]


def test_outcome_has_the_entry_that_it_is_about(all_types: Path) -> None:
    asked = ("grades", 1), ("one-grade", None), ("numbers", 1), ("one-number", 0), ("ranking", 2)
    labels = [outcome(name, item, event="label", value="bad") for name, item in asked]
    write(all_types, "outcomes", labels)
    query = """
        SELECT request_id, label, prediction, confidence, probabilities, "interval"
        FROM answered_outcomes ORDER BY request_id"""
    assert rows(all_types, query) == [
        ("grades", '"bad"', '"bad"', 0.8, '{"bad":0.8,"good":0.2}', None),
        ("numbers", '"bad"', "5.0", None, None, [4.0, 6.0]),
        ("one-grade", '"bad"', '"good"', 0.7, '{"bad":0.3,"good":0.7}', None),
        ("one-number", '"bad"', "2.5", None, None, [1.0, 3.0]),
        ("ranking", '"bad"', None, None, None, None),
    ]


def test_outcome_of_the_whole_answer_is_one_however_often_it_comes(all_types: Path) -> None:
    late = {"time": "2026-01-01T00:00:09.000000Z", "value": "good"}
    records = [outcome("one-grade", None, **late), outcome("one-grade", None, value="bad")]
    write(all_types, "outcomes", [each | {"event": "label", "schema": 2} for each in records])
    assert rows(all_types, "SELECT item_id, value, label FROM outcomes") == [(None, None, '"bad"')]


def test_value_is_a_number_and_label_the_rest(all_types: Path) -> None:
    sent = [
        ("click", 2),
        ("cost", 2.5),
        ("note", "2"),
        ("label", 3),
        ("view", None),
        ("seen", True),
    ]
    write(all_types, "outcomes", [outcome("a", 1, event=e, value=v) for e, v in sent])
    found = rows(all_types, "SELECT event, value, label FROM outcomes")
    assert {event: (value, label) for event, value, label in found} == {
        "click": (2.0, None),
        "cost": (2.5, None),
        "note": (None, '"2"'),
        "label": (3.0, "3"),
        "view": (None, None),
        "seen": (None, "true"),
    }
