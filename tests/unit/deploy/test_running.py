"""Whether a `marloft serve` runs is read from its lock, which dies with it."""

import fcntl
import threading
from pathlib import Path

import pytest

from marloft.contract.live import Live, live_path
from marloft.deploy.running import exclusive, is_running, read_live
from marloft.errors import ConfigError, ServingError
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


def test_lock_is_taken_after_a_look_that_holds_it_for_a_moment(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    with (tmp_path / "lock").open() as look:
        fcntl.flock(look, fcntl.LOCK_SH)
        end = threading.Timer(0.05, lambda: fcntl.flock(look, fcntl.LOCK_UN))
        end.start()
        with exclusive(tmp_path):
            assert is_running(tmp_path)
        end.join()


def test_lock_that_stays_held_is_refused(tmp_path: Path) -> None:
    with (
        exclusive(tmp_path),
        pytest.raises(ServingError, match="another `marloft serve` runs"),
        exclusive(tmp_path),
    ):
        raise AssertionError


def test_report_is_read_as_written(tmp_path: Path) -> None:
    assert read_live(tmp_path) is None
    report = Live(time="now", release=1, live=True, serving={"ranker": 1}, versions={})
    write_json(live_path(tmp_path), report)
    assert read_live(tmp_path) == report
    write_atomic(live_path(tmp_path), "{")
    with pytest.raises(ConfigError, match=r"live\.json"):
        read_live(tmp_path)
