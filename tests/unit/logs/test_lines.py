"""The newest records of many segments in the order of their times, then those that follow."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from marloft.logs import lines
from marloft.logs.lines import LastLines
from tests.unit.logs.test_read import prediction
from tests.unit.logs.world import write_segment


def at(second: int, **changes: Any) -> dict[str, Any]:
    return prediction(f"r{second}", time=f"2026-01-01T00:00:{second:02d}.000Z", **changes)


def wait_until_live(var: Path, keep: lines.Keep = lambda _: True) -> LastLines:
    return LastLines(var / "log" / "predictions", keep)


def ids(found: list[lines.Line]) -> list[str]:
    return [line.record["request_id"] for line in found]


def test_last_are_the_newest_of_all_segments(tmp_path: Path) -> None:
    write_segment(tmp_path, "predictions", [at(1), at(4), at(5)], pid=1)
    write_segment(tmp_path, "predictions", [at(2), at(3), at(6)], pid=2, tail='{"torn')
    assert ids(wait_until_live(tmp_path).last(4)) == ["r3", "r4", "r5", "r6"]
    assert ids(wait_until_live(tmp_path).last(99)) == [f"r{n}" for n in range(1, 7)]
    assert wait_until_live(tmp_path).last(0) == []


def test_filter_reaches_back_as_far_as_it_must(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "_BLOCK", 700)
    records = [at(n, status=500 if n in (2, 11) else 200) for n in range(40)]
    path = write_segment(tmp_path, "predictions", records)
    failed = wait_until_live(tmp_path, lambda record: record["status"] == 500)
    assert ids(failed.last(5)) == ["r2", "r11"]
    everything = wait_until_live(tmp_path).last(40)
    assert [line.raw for line in everything] == path.read_bytes().splitlines()


def test_segments_that_ended_before_are_not_read(tmp_path: Path) -> None:
    # Such a record cannot be in a file that was last written long before: it proves a reading.
    old = write_segment(tmp_path, "predictions", [at(9)], pid=1)
    os.utime(old, (0, 0))
    write_segment(tmp_path, "predictions", [at(2), at(3)], pid=2)
    assert ids(wait_until_live(tmp_path).last(2)) == ["r2", "r3"]
    assert ids(wait_until_live(tmp_path).last(3)) == ["r2", "r3", "r9"]


def test_new_are_those_added_since_whatever_last_showed(tmp_path: Path) -> None:
    path = write_segment(tmp_path, "predictions", [at(1)])
    found = wait_until_live(tmp_path)
    with path.open("a") as stream:
        stream.write(json.dumps(at(2)) + "\nnot json\n" + json.dumps(at(3)) + "\n")
    assert ids(found.last(10)) == ["r1"]
    assert ids(found.new()) == ["r2", "r3"]
    write_segment(tmp_path, "predictions", [at(4)], pid=9)
    assert ids(found.new()) == ["r4"]
    assert found.new() == []


def test_missing_folder_is_empty(tmp_path: Path) -> None:
    assert wait_until_live(tmp_path).last(3) == []
    assert wait_until_live(tmp_path).new() == []
