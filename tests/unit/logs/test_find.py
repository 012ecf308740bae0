"""The records of one request, found in all segments without reading every line."""

from pathlib import Path

import pytest

from marloft.contract.records import PREDICTIONS_FOLDER, PredictionRecord
from marloft.errors import DataError
from marloft.logs.find import FoundRecord, find
from tests.unit.logs.test_read import prediction
from tests.unit.logs.world import write_segment


def found(var: Path, request_id: str = "a") -> list[FoundRecord]:
    return find(var / PREDICTIONS_FOLDER, PredictionRecord, request_id)


def test_records_of_all_segments_come_in_the_order_of_their_times(tmp_path: Path) -> None:
    times = ["2026-01-01T00:00:02Z", "2026-01-01T00:00:01Z", "2026-01-01T00:00:03Z"]
    paths = [
        write_segment(tmp_path, "predictions", [prediction("b"), prediction("a", time=time)], pid=n)
        for n, time in enumerate(times)
    ]
    assert [(each.record["time"], each.segment) for each in found(tmp_path)] == [
        (times[1], paths[1]),
        (times[0], paths[0]),
        (times[2], paths[2]),
    ]


def test_field_that_was_not_written_is_none(tmp_path: Path) -> None:
    older = prediction("a")
    del older["attempt"]
    write_segment(tmp_path, "predictions", [older])
    (one,) = found(tmp_path)
    assert one.record["attempt"] is None
    assert one.record["stages"] is None


@pytest.mark.parametrize("changes", [{"user_id": "a"}, {"prediction": ["a"]}, {"extra": {"a": 1}}])
def test_id_in_another_field_is_no_record(tmp_path: Path, changes: dict[str, object]) -> None:
    write_segment(tmp_path, "predictions", [prediction("b", **changes)])
    assert found(tmp_path) == []


def test_torn_and_damaged_lines_are_passed_over(tmp_path: Path) -> None:
    path = write_segment(tmp_path, "predictions", [prediction("a")], tail='{"request_id":"a","ti')
    path.write_bytes(b'{"request_id":"a" \xff}\n' + path.read_bytes())
    assert len(found(tmp_path)) == 1


def test_empty_segment_and_no_folder_have_no_records(tmp_path: Path) -> None:
    assert found(tmp_path) == []
    write_segment(tmp_path, "predictions", [])
    assert found(tmp_path) == []


@pytest.mark.parametrize("bad", ["", "a b", "x" * 129, 'a"', "a\n"])
def test_text_that_is_no_id_is_refused(tmp_path: Path, bad: str) -> None:
    with pytest.raises(DataError, match="is not a request id"):
        found(tmp_path, bad)


def test_record_of_a_newer_schema_is_refused(tmp_path: Path) -> None:
    write_segment(tmp_path, "predictions", [prediction("a", schema=3)])
    with pytest.raises(DataError, match="schema 3 is newer"):
        found(tmp_path)
