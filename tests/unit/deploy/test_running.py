"""Whether a `marloft serve` runs is read from its lock, which dies with it."""

from pathlib import Path

import pytest

from marloft.contract.live import Live, live_path
from marloft.deploy.running import is_running, read_live
from marloft.deploy.supervisor import exclusive
from marloft.errors import ConfigError
from marloft.files import write_atomic, write_json


def test_lock_that_is_held_means_running(tmp_path: Path) -> None:
    assert not is_running(tmp_path)
    with exclusive(tmp_path):
        assert is_running(tmp_path)
        assert is_running(tmp_path), "the look takes nothing away"
    assert (tmp_path / "lock").exists()
    assert not is_running(tmp_path), "a lock file without a holder is no server"


def test_look_leaves_the_lock_free(tmp_path: Path) -> None:
    with exclusive(tmp_path):
        pass
    is_running(tmp_path)
    with exclusive(tmp_path):
        assert is_running(tmp_path)


def test_report_is_read_as_written(tmp_path: Path) -> None:
    assert read_live(tmp_path) is None
    report = Live(time="now", release=1, live=True, serving={"ranker": 1}, versions={})
    write_json(live_path(tmp_path), report)
    assert read_live(tmp_path) == report
    write_atomic(live_path(tmp_path), "{")
    with pytest.raises(ConfigError, match=r"live\.json"):
        read_live(tmp_path)
