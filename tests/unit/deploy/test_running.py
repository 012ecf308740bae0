"""Whether a `marloft serve` runs is read from its lock, which dies with it."""

import fcntl
import threading
from pathlib import Path

import pytest

from marloft.contract.live import Live, live_path
from marloft.deploy.running import ask_live, check_lock, exclusive, is_running, read_live
from marloft.deploy.state.endpoint import answering
from marloft.errors import ConfigError, ServingError
from marloft.files import write_atomic, write_json
from tests.free_ports import free_ports
from tests.unit.deploy.local_server import LocalServer


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


def test_holder_says_in_the_lock_where_it_answers(tmp_path: Path) -> None:
    found = Live(time="now", release=2, live=True, serving={}, versions={})
    write_json(live_path(tmp_path), Live(time="", release=1, live=False, serving={}, versions={}))
    port = free_ports().supervisor
    with exclusive(tmp_path, port), answering(port, lambda: found):
        assert read_live(tmp_path) == found
        (tmp_path / "lock").write_text("")
        check_lock(tmp_path, port)
        assert read_live(tmp_path) == found
    with exclusive(tmp_path):
        assert (tmp_path / "lock").read_text() == ""


def test_holder_that_has_seen_nothing_yet_says_nothing(tmp_path: Path) -> None:
    nothing = Live(time="now", release=0, live=False, serving={}, versions={})
    port = free_ports().supervisor
    with exclusive(tmp_path, port), answering(port, lambda: nothing):
        assert read_live(tmp_path) is None


def test_holder_that_does_not_answer_is_an_error(tmp_path: Path) -> None:
    port = free_ports().supervisor
    with (
        exclusive(tmp_path, port),
        pytest.raises(ServingError, match=f"does not answer at port {port}"),
    ):
        read_live(tmp_path)


def test_somebody_else_at_the_port_is_an_error(server: LocalServer) -> None:
    with pytest.raises(ServingError, match="is no `marloft serve`"):
        ask_live(server.port)


@pytest.mark.parametrize("kind", ["missing", "replaced", "a folder"])
def test_lock_that_others_do_not_find_is_an_error(tmp_path: Path, kind: str) -> None:
    lock = tmp_path / "lock"
    with exclusive(tmp_path, 1):
        check_lock(tmp_path, 1)
        lock.unlink()
        if kind == "replaced":
            lock.touch()
        elif kind == "a folder":
            lock.mkdir()
        with pytest.raises(ServingError, match="a second one could start"):
            check_lock(tmp_path, 1)
