"""Retention deletes closed segments that are too old, and nothing else."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from marloft.contract.policy import LogPolicy
from marloft.contract.segments import footer_path, torn_path, unfinished_path
from marloft.errors import DataError
from marloft.logs.retain import retain
from tests.unit.logs.test_read import outcome, prediction
from tests.unit.logs.world import close, write_segment

# The records' time.
THEN = datetime(2026, 1, 1, tzinfo=UTC)
WEEK = LogPolicy(keep_days=7)


def test_old_closed_segment_goes_with_all_that_belongs_to_it(tmp_path: Path) -> None:
    old = write_segment(tmp_path, "predictions", [prediction("a")], tail="torn")
    close(old)
    also = write_segment(tmp_path, "outcomes", [outcome("a", 3)])
    close(also)
    assert torn_path(old).exists()
    unfinished_path(old).touch()
    assert retain(tmp_path, WEEK, THEN + timedelta(days=8)) == [old, also]
    assert list(old.parent.iterdir()) + list(also.parent.iterdir()) == []


@pytest.mark.parametrize(("days", "goes"), [(6.9, False), (7.1, True)])
def test_age_is_the_last_records(tmp_path: Path, days: float, goes: bool) -> None:
    late = (THEN + timedelta(days=0.01)).isoformat()
    path = write_segment(tmp_path, "predictions", [prediction("a"), prediction("b", time=late)])
    close(path)
    deleted = retain(tmp_path, WEEK, THEN + timedelta(days=days))
    assert (deleted == [path]) is goes
    assert path.exists() is not goes


def test_open_segment_stays_however_old(tmp_path: Path) -> None:
    path = write_segment(tmp_path, "predictions", [prediction("a")])
    assert retain(tmp_path, WEEK, THEN + timedelta(days=999)) == []
    assert path.exists()


def test_nothing_goes_without_a_limit(tmp_path: Path) -> None:
    close(write_segment(tmp_path, "predictions", [prediction("a")]))
    assert retain(tmp_path, LogPolicy(), THEN + timedelta(days=999)) == []


def test_empty_segment_is_as_old_as_its_closing(tmp_path: Path) -> None:
    path = write_segment(tmp_path, "predictions", [])
    close(path)
    assert retain(tmp_path, WEEK, datetime.now(UTC) + timedelta(days=6)) == []
    assert retain(tmp_path, WEEK, datetime.now(UTC) + timedelta(days=8)) == [path]


def test_interrupted_deletion_is_finished(tmp_path: Path) -> None:
    path = write_segment(tmp_path, "predictions", [prediction("a")])
    close(path)
    path.unlink()
    assert retain(tmp_path, WEEK, THEN + timedelta(days=8)) == [path]
    assert not footer_path(path).exists()


def test_time_without_a_zone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="needs a time zone"):
        retain(tmp_path, WEEK, datetime(2026, 1, 1))
