import os
import time
from pathlib import Path

import msgspec
import pytest

from marloft.contract.segments import footer_path
from marloft.logs.tail import LogTail


class Line(msgspec.Struct, frozen=True):
    n: int


def write(path: Path, *numbers: int, end: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        stream.write("".join(f'{{"n":{n},"more":"{"x" * 20}"}}\n' for n in numbers) + end)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def tail(folder: Path) -> LogTail[Line]:
    return LogTail(folder, Line, history_s=60)


def read(tail: LogTail[Line]) -> list[int]:
    return [line.n for line in tail.read_new()]


def test_tail_returns_each_record_once_and_sees_new_segments(
    folder: Path, tail: LogTail[Line]
) -> None:
    assert read(tail) == []
    write(folder / "a.jsonl", 1, 2)
    assert read(tail) == [1, 2]
    write(folder / "a.jsonl", 3)
    write(folder / "b.jsonl", 10)
    assert read(tail) == [3, 10]
    assert read(tail) == []


def test_tail_waits_for_the_end_of_a_line(folder: Path, tail: LogTail[Line]) -> None:
    write(folder / "a.jsonl", 1, end='{"n":')
    assert read(tail) == [1]
    with (folder / "a.jsonl").open("a") as stream:
        stream.write("2}\n")
    assert read(tail) == [2]
    assert tail.damaged_lines == 0


def test_tail_counts_damaged_lines_and_goes_on(folder: Path, tail: LogTail[Line]) -> None:
    write(folder / "a.jsonl", 1, end='not json\n{"m":1}\n')
    write(folder / "a.jsonl", 2)
    assert read(tail) == [1, 2]
    assert tail.damaged_lines == 2


def test_tail_leaves_segments_of_long_ago_alone(folder: Path) -> None:
    write(folder / "old.jsonl", 1)
    hour_ago = time.time() - 3600
    os.utime(folder / "old.jsonl", (hour_ago, hour_ago))
    write(folder / "new.jsonl", 2)
    assert read(LogTail(folder, Line, history_s=60)) == [2]


def test_tail_skips_what_it_cannot_read_in_time_and_says_how_much(folder: Path) -> None:
    tail = LogTail(folder, Line, history_s=60, max_bytes=100)
    write(folder / "a.jsonl", *range(10))
    size = (folder / "a.jsonl").stat().st_size
    numbers = read(tail)
    assert numbers == [8, 9]
    assert tail.skipped_bytes == size * 8 // 10
    write(folder / "a.jsonl", 10)
    assert read(tail) == [10]


def test_a_file_written_right_after_the_start_is_read_although_its_time_is_a_tick_behind(
    folder: Path,
) -> None:
    tail = LogTail(folder, Line, history_s=0)
    write(folder / "a.jsonl", 1)
    started = time.time()
    os.utime(folder / "a.jsonl", (started, started - 0.005))
    write(folder / "old.jsonl", 2)
    os.utime(folder / "old.jsonl", (started, started - 1))
    assert read(tail) == [1]


def rewrite(path: Path, *numbers: int) -> None:
    """Put other bytes in a closed segment's place, as `marloft log forget` does."""
    new = path.with_suffix(".forget")
    write(new, *numbers)
    state = path.stat()
    os.utime(new, ns=(state.st_atime_ns, state.st_mtime_ns))
    footer_path(path).write_text("{}")
    new.replace(path)


def test_records_that_stay_are_not_read_again(folder: Path, tail: LogTail[Line]) -> None:
    path = folder / "a.jsonl"
    write(path, 1, 2, 3)
    assert read(tail) == [1, 2, 3]
    rewrite(path, 1, 3)
    assert read(tail) == []
    write(folder / "b.jsonl", 4)
    assert read(tail) == [4]


def test_records_before_a_rewriting_are_read_whole_and_once(
    folder: Path, tail: LogTail[Line]
) -> None:
    path = folder / "a.jsonl"
    write(path, 1, 2)
    assert read(tail) == [1, 2]
    write(path, 3, 4)
    rewrite(path, 1, 3)
    assert read(tail) == [3, 4]
    assert read(tail) == []
    assert (tail.damaged_lines, tail.skipped_bytes) == (0, 0)


def test_old_segment_that_is_rewritten_is_not_read(folder: Path) -> None:
    path = folder / "a.jsonl"
    write(path, 1, 2)
    os.utime(path, (0, 0))
    tail = LogTail(folder, Line, history_s=60)
    assert read(tail) == []
    rewrite(path, 1)
    assert read(tail) == []


def test_only_segments_that_may_grow_are_held_open(folder: Path, tail: LogTail[Line]) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        write(folder / name, 1)
    footer_path(folder / "a.jsonl").write_text("{}")
    held = len(list(Path("/proc/self/fd").iterdir()))
    read(tail)
    assert len(list(Path("/proc/self/fd").iterdir())) == held + 1
    footer_path(folder / "b.jsonl").write_text("{}")
    read(tail)
    assert len(list(Path("/proc/self/fd").iterdir())) == held


def test_segment_that_retention_deletes_is_passed_over(folder: Path, tail: LogTail[Line]) -> None:
    write(folder / "a.jsonl", 1)
    write(folder / "b.jsonl", 2)
    assert read(tail) == [1, 2]
    (folder / "a.jsonl").unlink()
    write(folder / "b.jsonl", 3)
    assert read(tail) == [3]
