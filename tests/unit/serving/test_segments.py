"""Segments are closed with count and hash, by their writer or by whoever finds them orphaned."""

import fcntl
import hashlib
import json
import os
import time
from collections import Counter
from pathlib import Path

import pytest

from marloft.contract.policy import LogPolicy
from marloft.contract.segments import Footer, footer_path, torn_path, writer_of
from marloft.files import read_json
from marloft.logs.read import open_log
from marloft.serving.log import RecordLog
from marloft.serving.segments import close_dead_segments, close_segment, create_segment
from tests.unit.serving.writing import kill_while_writing, outcome, prediction, writer

LINE = b'{"time":"2026-01-01T00:00:00Z","request_id":"a"}\n'
LAST = b'{"time":"2026-01-02T00:00:00Z","request_id":"b"}\n'


def dead(folder: Path, content: bytes, host: str = "") -> Path:
    """Leave a segment as a process that was killed does."""
    path, file = create_segment(folder)
    os.write(file, content)
    os.close(file)
    if host:
        return path.rename(folder / f"20260101T000000000000-{host}-7.jsonl")
    return path


def test_dead_segment_is_closed_with_count_hash_and_times(tmp_path: Path) -> None:
    path = dead(tmp_path, LINE + LAST)
    assert close_dead_segments(tmp_path) == [path]
    footer = read_json(footer_path(path), Footer)
    assert footer.sha256 == hashlib.sha256(LINE + LAST).hexdigest()
    assert (footer.records, footer.size_bytes, footer.torn_bytes) == (2, len(LINE + LAST), 0)
    assert (footer.first_time, footer.last_time) == ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")


@pytest.mark.parametrize("whole", [LINE, b"", LINE * 30_000])
def test_torn_last_line_is_moved_aside_and_never_lost(tmp_path: Path, whole: bytes) -> None:
    path = dead(tmp_path, whole + LAST[:-5])
    assert close_dead_segments(tmp_path) == [path]
    assert path.read_bytes() == whole
    assert torn_path(path).read_bytes() == LAST[:-5]
    footer = read_json(footer_path(path), Footer)
    assert (footer.records, footer.torn_bytes) == (whole.count(b"\n"), len(LAST) - 5)


def test_repair_that_was_interrupted_is_finished(tmp_path: Path) -> None:
    path = dead(tmp_path, LINE + LAST[:-5])
    torn_path(path).write_bytes(b"a part")
    close_segment(path)
    assert (path.read_bytes(), torn_path(path).read_bytes()) == (LINE, LAST[:-5])


def test_closed_segment_is_left_alone(tmp_path: Path) -> None:
    path = dead(tmp_path, LINE)
    close_dead_segments(tmp_path)
    before = footer_path(path).read_bytes()
    path.write_bytes(LINE + LAST)
    assert close_dead_segments(tmp_path) == []
    assert footer_path(path).read_bytes() == before


def test_living_writers_segment_is_left_open_and_its_death_is_seen(tmp_path: Path) -> None:
    with writer(tmp_path, "w", "once") as child:
        assert child.stdout is not None
        child.stdout.readline()
        (path,) = tmp_path.glob("*.jsonl")
        found = writer_of(path)
        assert found is not None and found.pid == child.pid
        assert close_dead_segments(tmp_path) == []
    assert close_dead_segments(tmp_path) == [path]


def test_own_segment_is_not_taken_for_a_dead_one_in_the_same_process(tmp_path: Path) -> None:
    log = RecordLog(tmp_path)
    log.append([outcome(1)])
    assert close_dead_segments(tmp_path) == []
    log.close()
    assert footer_path(log.path).exists()


def test_segment_of_another_host_is_closed_only_when_untouched_for_a_day(tmp_path: Path) -> None:
    path = dead(tmp_path, LINE, host="elsewhere-2")
    assert close_dead_segments(tmp_path) == []
    two_days_ago = time.time() - 2 * 24 * 3600
    os.utime(path, (two_days_ago, two_days_ago))
    with path.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert close_dead_segments(tmp_path) == []
    assert close_dead_segments(tmp_path) == [path]


def test_segment_reaching_its_size_is_closed_and_the_next_one_is_written(tmp_path: Path) -> None:
    log = RecordLog(tmp_path, lambda: LogPolicy(segment_mb=1))
    first = log.path
    for number in range(12):
        log.append([prediction(str(number), "x" * 200_000)])
    log.close()
    segments = sorted(tmp_path.glob("*.jsonl"))
    assert segments[0] == first and len(segments) == 2
    assert [read_json(footer_path(path), Footer).records for path in segments] == [6, 6]
    lines = [json.loads(line) for path in segments for line in path.read_text().splitlines()]
    assert [line["request_id"] for line in lines] == [str(number) for number in range(12)]


def test_new_worker_closes_what_dead_ones_left(tmp_path: Path) -> None:
    path = dead(tmp_path, LINE + LAST[:9])
    RecordLog(tmp_path).close()
    assert read_json(footer_path(path), Footer).records == 1


def read_ids(var: Path) -> list[str]:
    """Return the ids of the predictions as every reader of the log gets them."""
    with open_log(var) as log:
        rows = log.connection.execute("SELECT request_id FROM prediction_lines").fetchall()
    return [row[0] for row in rows]


def lost_or_doubled(acknowledged: list[str], read: list[str]) -> set[str]:
    times = Counter(read)
    return {each for each in acknowledged if times[each] != 1}


@pytest.mark.slow
def test_acknowledged_records_survive_kill_9_exactly_once(tmp_path: Path) -> None:
    folder = tmp_path / "log" / "predictions"
    acknowledged: list[str] = []
    for turn in range(5):
        acknowledged += kill_while_writing(folder, f"w{turn}", after_s=0.05 + 0.07 * turn)
    open_before = [p for p in folder.glob("*.jsonl") if not footer_path(p).exists()]
    assert len(acknowledged) > 100
    assert lost_or_doubled(acknowledged, read_ids(tmp_path)) == set()
    close_dead_segments(folder)
    assert open_before
    assert all(footer_path(path).exists() for path in folder.glob("*.jsonl"))
    assert lost_or_doubled(acknowledged, read_ids(tmp_path)) == set()


@pytest.mark.slow
def test_writer_that_acknowledges_before_it_writes_is_noticed(tmp_path: Path) -> None:
    acknowledged = kill_while_writing(
        tmp_path / "log" / "predictions", "w", after_s=0.1, mode="early"
    )
    assert lost_or_doubled(acknowledged, read_ids(tmp_path)) != set()
