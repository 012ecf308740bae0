"""The exporter is started, ended and started again, and never keeps serving waiting."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from marloft.deploy.ports import Ports
from marloft.deploy.processes.exporter import Exporter
from marloft.deploy.processes.process import Launch
from marloft.monitoring.exporter import exporting
from tests.free_ports import free_ports


class Sleeping(Exporter):
    """An exporter whose program only sleeps."""

    def prepare(self) -> Launch:
        return replace(super().prepare(), command=["sleep", "60"])


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[Exporter]:
    found = Sleeping(tmp_path, free_ports())
    yield found
    found.stop()


def test_program_is_marloft_metrics_on_the_same_state_and_ports(tmp_path: Path) -> None:
    launch = Exporter(tmp_path / "var", Ports(offset=100)).prepare()
    program, *words = launch.command
    assert Path(program).parent == Path(sys.executable).parent
    assert words == ["metrics", "--var", str(tmp_path / "var"), "--port-offset", "100"]
    assert Path(program).name == "marloft"


def test_it_is_ready_when_it_answers(exporter: Exporter, tmp_path: Path) -> None:
    exporter.spawn()
    assert exporter.is_alive()
    assert not exporter.probe()
    assert exporter.console == tmp_path / "log" / "metrics.log"
    assert exporter.console.is_file()


def test_one_that_is_left_over_is_ended_and_not_taken_over(
    exporter: Exporter, tmp_path: Path
) -> None:
    record = tmp_path / "run" / "processes" / "exporter.json"
    exporter.spawn()
    assert record.is_file()
    later = Sleeping(tmp_path, free_ports())
    later.end_earlier()
    assert later.pid is None
    assert not exporter.is_alive()
    assert not record.exists()


def test_one_that_answers_is_ready(exporter: Exporter, tmp_path: Path) -> None:
    ports = free_ports()
    later = Sleeping(tmp_path, ports)
    assert not later.probe()
    with exporting(tmp_path, ports.exporter):
        assert later.probe()
