"""The exporter is started, ended and started again, and never keeps serving waiting."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from marloft.deploy.ports import Ports
from marloft.deploy.processes import exporter as module
from marloft.deploy.processes.exporter import Exporter
from marloft.deploy.processes.process import Launch, ManagedProcess


class Sleeping(Exporter):
    """An exporter whose program only sleeps."""

    def prepare(self) -> Launch:
        return replace(super().prepare(), command=["sleep", "60"])


class Clock:
    """Seconds that only the test moves on, from a machine that has just been started."""

    def __init__(self) -> None:
        self.now = 1.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[Exporter]:
    found = Sleeping(tmp_path, Ports())
    yield found
    found.stop()


def kill(process: ManagedProcess) -> None:
    assert process.pid is not None
    os.kill(process.pid, 9)
    deadline = time.monotonic() + 5
    while process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.005)


def test_program_is_marloft_metrics_on_the_same_state_and_ports(tmp_path: Path) -> None:
    launch = Exporter(tmp_path / "var", Ports(offset=100)).prepare()
    program, *words = launch.command
    assert Path(program).parent == Path(sys.executable).parent
    assert words == ["metrics", "--var", str(tmp_path / "var"), "--port-offset", "100"]
    assert Path(program).name == "marloft"


def test_start_waits_for_nothing(exporter: Exporter, tmp_path: Path) -> None:
    exporter.start()
    assert exporter.is_alive()
    assert not exporter.probe()
    assert exporter.console == tmp_path / "log" / "metrics.log"
    assert exporter.console.is_file()


def test_one_that_is_left_over_is_ended_and_not_taken_over(
    exporter: Exporter, tmp_path: Path
) -> None:
    record = tmp_path / "run" / "processes" / "exporter.json"
    exporter.start()
    assert record.is_file()
    later = Sleeping(tmp_path, Ports())
    later.end_earlier()
    assert later.pid is None
    assert not exporter.is_alive()
    assert not record.exists()


def test_revive_leaves_one_that_runs_alone(exporter: Exporter, clock: Clock) -> None:
    said: list[str] = []
    exporter.revive(said.append)
    assert exporter.pid is None, "never started"
    exporter.start()
    before = exporter.pid
    exporter.revive(said.append)
    assert (exporter.pid, said) == (before, [])


def test_revive_ends_what_the_ended_one_has_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaving = ["sh", "-c", "sleep 60 & exec sleep 60"]
    monkeypatch.setattr(
        Exporter, "prepare", lambda _: Launch(command=leaving, env=dict(os.environ), cwd=tmp_path)
    )
    exporter = Exporter(tmp_path, Ports())
    exporter.start()
    leader = psutil.Process(exporter.pid)
    while not (left := leader.children()):
        time.sleep(0.005)
    kill(exporter)
    exporter.revive(lambda _: None)
    assert not left[0].is_running() or left[0].status() == psutil.STATUS_ZOMBIE
    exporter.stop()


def test_revive_starts_it_again_at_most_twice_a_minute(exporter: Exporter, clock: Clock) -> None:
    said: list[str] = []
    started: list[float] = []
    exporter.start()
    kill(exporter)
    for _ in range(13):
        exporter.revive(said.append)
        if exporter.is_alive():
            kill(exporter)
            started.append(clock.now)
        clock.now += 10
    assert started == [1, 31, 61, 91, 121]
    assert len(said) == 5
    assert said[0].startswith("The metrics exporter ended with code -9; last words: ")
    assert said[0].endswith(" It is started again.")
