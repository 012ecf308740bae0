"""A real process that ends, kept running; time is set by hand."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from marloft.deploy.faults import Faults
from marloft.deploy.processes.process import Launch, ManagedProcess
from marloft.deploy.processes.restarts import Restarter
from marloft.deploy.processes.watchdog import Watchdog


class Sleeper(ManagedProcess):
    name = "Sleeper"
    stop_patience_s = 5.0
    ready = True

    def prepare(self) -> Launch:
        command = [sys.executable, "-c", "import time; print('slept', flush=True); time.sleep(60)"]
        return Launch(command=command, env=dict(os.environ), cwd=self.console.parent)

    def probe(self, timeout_s: float = 1.0) -> bool:  # noqa: ARG002
        return self.ready


class Kept:
    def __init__(self, console: Path) -> None:
        self.now = 0.0
        self.said: list[str] = []
        self.process = Sleeper(console)
        self.process.start()
        self.ended: list[str] = []
        self.faults = Faults(self.said.append)
        self.watchdog = Watchdog(lambda _: self.process.ready, clock=lambda: self.now)
        self.restarter = Restarter(
            self.process,
            self.watchdog,
            self.faults,
            self.ended.append,
            clock=lambda: self.now,
        )

    def kill(self) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGKILL)
        deadline = time.monotonic() + 5
        while self.process.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)

    def look_after(self, seconds: float) -> bool:
        self.now += seconds
        return self.restarter.restart_if_due()


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    kept = Kept(tmp_path / "console.log")
    yield kept
    kept.process.stop()


def test_restarter_starts_an_ended_process_at_once_and_says_its_last_words(kept: Kept) -> None:
    assert kept.look_after(1)
    kept.kill()
    assert not kept.restarter.is_steady
    assert not kept.look_after(0.1)
    assert kept.process.is_alive()
    assert kept.said[0].startswith("Sleeper: ended with code -9; last words: ")
    assert kept.said[0].endswith(" It is started again.")
    assert kept.ended[0].startswith("Sleeper ended with code -9; last words: ")
    assert kept.faults.current.keys() == {"Sleeper"}, "as long as it is not ready"
    assert kept.look_after(0.1)
    assert kept.faults.current == {}
    assert kept.restarter.is_steady


def test_restarter_waits_longer_after_each_end_and_reports_a_loop(kept: Kept) -> None:
    pauses = []
    for _ in range(9):
        kept.kill()
        kept.look_after(0.001)
        waited = 0.0
        while not kept.process.is_alive():
            kept.look_after(0.25)
            waited += 0.25
        pauses.append(waited)
        assert kept.look_after(0.001)
    assert pauses == [0, 0.5, 1, 2, 4, 8, 16, 30, 30]
    loops = [line for line in kept.said if "times in a row" in line]
    assert "ended 5 times in a row" in loops[0]
    assert len(loops) == 5


def test_restarter_forgets_ends_after_a_minute_of_health(kept: Kept) -> None:
    for healthy_s, alive in ((0, True), (61, True), (1, False)):
        assert kept.look_after(healthy_s)
        kept.kill()
        kept.look_after(0.001)
        assert kept.process.is_alive() is alive
        kept.look_after(0.5)


def test_restarter_gives_up_on_a_start_that_takes_too_long(kept: Kept) -> None:
    kept.kill()
    kept.process.ready = False
    assert not kept.look_after(0)
    assert not kept.look_after(kept.process.start_s + 1)
    assert "not ready" in kept.said[-1]
    assert not kept.process.is_alive()


def silence(kept: Kept, seconds: float) -> None:
    """Let the watchdog ask as often as it does in so many seconds."""
    kept.process.ready = False
    for _ in range(int(seconds)):
        kept.watchdog.ask()
    kept.process.ready = True


def test_silence_is_a_fault_first_and_an_end_after_the_stated_time(kept: Kept) -> None:
    first = kept.process.pid
    silence(kept, 2)
    assert kept.look_after(1)
    assert kept.faults.current == {}, "busy cores cost as much"
    silence(kept, 2)
    assert not kept.look_after(1), "nobody is to ask it meanwhile"
    assert kept.faults.current == {"Sleeper": "does not answer; it is started again after 15 s"}
    silence(kept, 12)
    assert not kept.look_after(1)
    assert kept.ended == ["did not answer for 15 s."]
    assert kept.process.pid not in (None, first)
    assert kept.look_after(1)
    assert kept.faults.current == {}


def test_a_stopped_process_is_ended_and_started_again(kept: Kept) -> None:
    """It takes no signal but one."""
    assert kept.process.pid is not None
    os.kill(kept.process.pid, signal.SIGSTOP)
    silence(kept, 16)
    assert not kept.look_after(1)
    assert kept.process.is_alive()


def test_an_answer_ends_the_silence(kept: Kept) -> None:
    silence(kept, 14)
    kept.watchdog.ask()
    assert kept.look_after(1)
    silence(kept, 14)
    kept.restarter.answered()
    assert kept.look_after(1)
    assert (kept.ended, kept.faults.current) == ([], {})


def test_a_start_that_fails_is_tried_again(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(kept.process, "spawn", full)
        kept.kill()
        assert not kept.look_after(1)
        assert "cannot be started: [Errno 28] No space left" in kept.faults.current["Sleeper"]
        assert not kept.look_after(1)
        assert kept.restarter.is_steady, "until the pause is over"
    assert not kept.look_after(2)
    assert kept.look_after(1)
    assert kept.faults.current == {}


def test_a_process_that_is_still_starting_is_waited_for(kept: Kept) -> None:
    restarter = Restarter(
        kept.process, kept.watchdog, kept.faults, kept.ended.append, is_ready=False
    )
    kept.process.ready = False
    assert not restarter.restart_if_due()
    kept.process.ready = True
    assert restarter.restart_if_due()
    assert (kept.ended, kept.said) == ([], [])
