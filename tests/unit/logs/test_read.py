import json
from pathlib import Path
from typing import Any

import pytest

from marloft.errors import DataError
from marloft.logs import read
from marloft.logs.read import open_log


def prediction(request_id: str, **changes: Any) -> dict[str, Any]:
    record: dict[str, Any] = dict.fromkeys(
        ("user_id", "intended_version", "archive_sha256", "release", "experiment", "arm")
    )
    record |= dict.fromkeys(("propensity", "scores", "queue_ms", "predict_ms", "error", "extra"))
    record |= {
        "schema": 1,
        "time": "2026-01-01T00:00:00.000000Z",
        "request_id": request_id,
        "attempt": 1,
        "role": "answer",
        "status": 200,
        "model": "ranker",
        "version": "1.0",
        "features": [{"item_id": 3}, {"item_id": 4}],
        "prediction": [4, 3],
        "latency_ms": 2.5,
    }
    return record | changes


def outcome(request_id: str, item_id: int | str | None, **changes: Any) -> dict[str, Any]:
    record = {
        "schema": 1,
        "time": "2026-01-01T00:00:01.000000Z",
        "request_id": request_id,
        "item_id": item_id,
        "event": "click",
        "value": None,
    }
    return record | changes


def write(var: Path, kind: str, records: list[dict[str, Any]], tail: str = "") -> Path:
    path = var / "log" / kind / "segment.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records) + tail)
    return path


def rows(var: Path, query: str) -> list[tuple[Any, ...]]:
    with open_log(var) as log:
        return log.connection.execute(query).fetchall()


def test_predictions_keep_the_highest_attempt_of_each_request_and_role(tmp_path: Path) -> None:
    records = [
        prediction("a", attempt=2, version="2.0"),
        prediction("a", attempt=1),
        prediction("a", role="shadow", version="3.0"),
    ]
    write(tmp_path, "predictions", records)
    found = rows(tmp_path, "SELECT role, attempt, version FROM predictions ORDER BY role")
    assert found == [("answer", 2, "2.0"), ("shadow", 1, "3.0")]


def test_outcomes_keep_the_first_of_each_event_and_treat_7_and_text_7_as_one(
    tmp_path: Path,
) -> None:
    records = [
        outcome("a", 7, time="2026-01-01T00:00:09.000000Z", value=9.0),
        outcome("a", "7", time="2026-01-01T00:00:01.000000Z", value=1.0),
        outcome("a", 7, event="conversion"),
    ]
    write(tmp_path, "outcomes", records)
    found = rows(tmp_path, "SELECT item_id, event, value FROM outcomes ORDER BY event")
    assert found == [("7", "click", 1.0), ("7", "conversion", None)]


def test_answered_outcomes_know_the_items_position(tmp_path: Path) -> None:
    write(tmp_path, "predictions", [prediction("a", prediction=[4, "x y", 3], user_id="u")])
    write(tmp_path, "outcomes", [outcome("a", "x y"), outcome("a", 99), outcome("other", 4)])
    found = rows(
        tmp_path, "SELECT item_id, user_id, position FROM answered_outcomes ORDER BY position"
    )
    assert found == [("x y", "u", 2), ("99", "u", None)]


def test_answer_that_is_no_list_is_one_item(tmp_path: Path) -> None:
    write(tmp_path, "predictions", [prediction("a", prediction="cat")])
    write(tmp_path, "outcomes", [outcome("a", "cat")])
    assert rows(tmp_path, "SELECT position FROM answered_outcomes") == [(1,)]


def test_missing_folders_are_empty_tables_with_typed_columns(tmp_path: Path) -> None:
    write(tmp_path, "predictions", [prediction("a")])
    assert rows(tmp_path, "SELECT count(*) FROM answered_outcomes") == [(0,)]
    assert rows(tmp_path, "SELECT typeof(value) FROM outcomes RIGHT JOIN (SELECT 1) ON true") == [
        ("DOUBLE",)
    ]


def test_empty_segment_is_an_empty_table(tmp_path: Path) -> None:
    write(tmp_path, "predictions", [])
    assert rows(tmp_path, "SELECT count(*) FROM predictions") == [(0,)]


def test_torn_last_line_is_left_out_and_counted(tmp_path: Path) -> None:
    write(tmp_path, "predictions", [prediction("a")], tail='{"schema":1,"time":"2026-01-0')
    with open_log(tmp_path) as log:
        assert (log.counts.prediction_lines, log.counts.torn_lines) == (1, 1)
        assert log.connection.execute("SELECT request_id FROM predictions").fetchall() == [("a",)]


def test_damaged_line_elsewhere_is_refused_with_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "predictions", [prediction("a")], tail='{"schema":1,"ti\n')
    with pytest.raises(DataError, match="1 lines are not records") as refusal, open_log(tmp_path):
        pass
    assert str(path) in str(refusal.value)


def test_record_without_a_required_field_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "predictions", [prediction("a", status=None)])
    with pytest.raises(DataError, match="not records"), open_log(tmp_path):
        pass


def test_newer_record_schema_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "predictions", [prediction("a", schema=3)])
    with pytest.raises(DataError, match="schema 3 is newer"), open_log(tmp_path):
        pass


def test_path_with_a_quote_is_read(tmp_path: Path) -> None:
    var = tmp_path / "it's"
    write(var, "predictions", [prediction("a")])
    assert rows(var, "SELECT request_id FROM predictions") == [("a",)]


@pytest.mark.parametrize("vanishing", [1, 2])
def test_segment_that_retention_deletes_meanwhile_is_passed_over_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vanishing: int
) -> None:
    write(tmp_path, "outcomes", [outcome("a", 1)])
    view = read._view_of_lines
    deleted: list[Path] = []

    def deleting(table: str, files: list[str], columns: dict[str, str]) -> str:
        # Between the listing and DuckDB's reading.
        if len(deleted) < vanishing and table == "outcome_lines":
            gone = tmp_path / "log" / "outcomes" / "old.jsonl"
            deleted.append(gone)
            files = [*files, str(gone)]
        return view(table, files, columns)

    monkeypatch.setattr(read, "_view_of_lines", deleting)
    if vanishing == 2:
        with pytest.raises(DataError, match=r"old\.jsonl.*; try again\."):
            rows(tmp_path, "FROM outcomes")
    else:
        assert len(rows(tmp_path, "FROM outcomes")) == 1
    assert len(deleted) == vanishing


def test_parameters_are_a_column_that_is_null_without_any(tmp_path: Path) -> None:
    records = [prediction("a", parameters={"top_k": 5}), prediction("b")]
    write(tmp_path, "predictions", records)
    asked = "SELECT request_id, parameters ->> '$.top_k' FROM predictions ORDER BY request_id"
    assert rows(tmp_path, asked) == [("a", "5"), ("b", None)]
