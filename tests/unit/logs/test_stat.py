"""The counts of both logs, by hand."""

from pathlib import Path

from marloft.logs.stat import Served, mismatches, stat
from tests.unit.logs.test_read import outcome, prediction
from tests.unit.logs.world import close, write_segment


def test_counts_are_those_of_the_lines(tmp_path: Path) -> None:
    closed = write_segment(
        tmp_path,
        "predictions",
        [prediction("a"), prediction("a", attempt=2, version="2.0"), prediction("b", status=422)],
        tail='{"torn',
    )
    close(closed)
    late = "2026-01-02T03:04:05.678Z"
    opened = write_segment(
        tmp_path, "predictions", [prediction("c", time=late)], pid=8, tail='{"torn'
    )
    write_segment(tmp_path, "outcomes", [outcome("a", 3), outcome("a", 3), outcome("b", 3)])
    predictions, outcomes = stat(tmp_path)
    assert (predictions.open_segments, predictions.closed_segments) == (1, 1)
    assert (predictions.records, predictions.unique, predictions.duplicates) == (4, 3, 1)
    assert predictions.torn_lines == 2
    assert predictions.size_bytes == closed.stat().st_size + opened.stat().st_size
    assert predictions.first_time == "2026-01-01T00:00:00.000Z"
    assert predictions.last_time == late
    assert predictions.served == [
        Served(model="ranker", version="1.0", requests=2, answered=1),
        Served(model="ranker", version="2.0", requests=1, answered=1),
    ]
    assert (outcomes.records, outcomes.duplicates, outcomes.served) == (3, 1, [])


def test_empty_folder_has_no_span(tmp_path: Path) -> None:
    predictions, _ = stat(tmp_path)
    assert (predictions.records, predictions.first_time) == (0, None)


def test_mismatches_name_each_changed_segment(tmp_path: Path) -> None:
    paths = [
        write_segment(tmp_path, kind, [prediction("a")]) for kind in ("predictions", "outcomes")
    ]
    for path in paths:
        close(path)
    assert mismatches(tmp_path) == []
    for path in paths:
        path.write_bytes(path.read_bytes() + b"\n")
    assert [line.split(":")[0] for line in mismatches(tmp_path)] == [str(path) for path in paths]


def test_segment_that_is_gone_is_named(tmp_path: Path) -> None:
    path = write_segment(tmp_path, "predictions", [prediction("a")])
    close(path)
    path.unlink()
    assert mismatches(tmp_path) == [f"{path}: is gone, its footer is not"]
