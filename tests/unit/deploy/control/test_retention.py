"""`marloft serve` deletes what the newest release no longer keeps, and says so in events.jsonl."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from marloft.contract.release import release_path, releases_folder
from marloft.deploy.control.retention import EVERY_S, LogRetention
from marloft.deploy.faults import Faults
from tests.unit.logs.test_read import prediction
from tests.unit.logs.world import close, write_segment
from tests.unit.serving.writing import release


def closed(var: Path, days_ago: float, pid: int) -> Path:
    then = (datetime.now(UTC) - timedelta(days=days_ago)).isoformat()
    path = write_segment(var, "predictions", [prediction("a", time=then)], pid=pid)
    close(path)
    return path


def test_old_segments_go_and_the_event_names_them(tmp_path: Path) -> None:
    old, young = closed(tmp_path, 8, 1), closed(tmp_path, 6, 2)
    release(tmp_path, 1, keep_days=7)
    assert LogRetention(tmp_path, Faults(print)).delete_if_due() == [old]
    assert young.exists()
    (event,) = (tmp_path / "events.jsonl").read_text().splitlines()
    found = json.loads(event)
    assert (found["event"], found["keep_days"]) == ("log deleted", 7)
    assert found["segments"] == [f"log/predictions/{old.name}"]


def test_nothing_goes_and_nothing_is_told_without_a_limit(tmp_path: Path) -> None:
    closed(tmp_path, 999, 1)
    release(tmp_path, 1)
    assert LogRetention(tmp_path, Faults(print)).delete_if_due() == []
    assert not (tmp_path / "events.jsonl").exists()


def test_it_looks_once_an_hour_and_follows_the_newest_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = closed(tmp_path, 8, 1)
    release(tmp_path, 1)
    delete_if_due = LogRetention(tmp_path, Faults(print)).delete_if_due
    assert delete_if_due() == []
    release(tmp_path, 2, keep_days=7)
    assert delete_if_due() == []
    later = time.monotonic() + EVERY_S
    monkeypatch.setattr("marloft.deploy.control.retention.time.monotonic", lambda: later)
    assert delete_if_due() == [old]


def test_a_damaged_release_is_reported_and_deletes_nothing(tmp_path: Path) -> None:
    old = closed(tmp_path, 8, 1)
    release(tmp_path, 1, keep_days=7)
    release_path(releases_folder(tmp_path), 2).write_text("{")
    said: list[str] = []
    assert LogRetention(tmp_path, Faults(said.append)).delete_if_due() == []
    assert old.exists()
    (line,) = said
    assert line.startswith("deletion of old log segments: ")
