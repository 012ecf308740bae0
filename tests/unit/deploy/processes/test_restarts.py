"""A real process that ends, kept running; time is set by hand."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from marloft.deploy.processes.process import Launch, ManagedProcess
from marloft.deploy.processes.restarts import Restarter


class Sleeper(ManagedProcess):
    name = "Sleeper"
    stop_patience_s = 5.0
    ready = True

    def prepare(self) -> Launch:
        command = [sys.executable, "-c", "import time; print('slept', flush=True); time.sleep(60)"]
        return Launch(command=command, env=dict(os.environ), cwd=self.console.parent)

    def probe(self) -> bool:
        return self.ready


class Kept:
    def __init__(self, console: Path) -> None:
        self.now = 0.0
        self.said: list[str] = []
        self.process = Sleeper(console)
        self.process.start()
        self.ended: list[str] = []
        self.restarter = Restarter(
            self.process, self.said.append, self.ended.append, clock=lambda: self.now
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
    assert "Sleeper ended with code -9" in kept.said[0]
    assert kept.ended and kept.ended[0] in kept.said[0]
    assert kept.look_after(0.1)
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
