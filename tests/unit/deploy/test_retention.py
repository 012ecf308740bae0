"""What a release no longer keeps is deleted, and events.jsonl says so."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from marloft.contract.policy import LogPolicy
from marloft.deploy.retention import delete_old_segments
from tests.unit.logs.test_read import prediction
from tests.unit.logs.world import close, write_segment


def closed(var: Path, days_ago: float, pid: int) -> Path:
    then = (datetime.now(UTC) - timedelta(days=days_ago)).isoformat()
    path = write_segment(var, "predictions", [prediction("a", time=then)], pid=pid)
    close(path)
    return path


def test_old_segments_go_and_the_event_names_them(tmp_path: Path) -> None:
    old, young = closed(tmp_path, 8, 1), closed(tmp_path, 6, 2)
    assert delete_old_segments(tmp_path, LogPolicy(keep_days=7)) == [old]
    assert young.exists() and not old.exists()
    (event,) = (tmp_path / "events.jsonl").read_text().splitlines()
    found = json.loads(event)
    assert (found["event"], found["keep_days"]) == ("log deleted", 7)
    assert found["segments"] == [f"log/predictions/{old.name}"]


def test_nothing_goes_and_nothing_is_told_without_a_limit(tmp_path: Path) -> None:
    closed(tmp_path, 999, 1)
    assert delete_old_segments(tmp_path, LogPolicy()) == []
    assert not (tmp_path / "events.jsonl").exists()
