"""Envoy's command, and what makes a running one the same as a new one."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from marloft.deploy.gateway.bootstrap import render_bootstrap
from marloft.deploy.ports import Exposure, Ports
from marloft.deploy.processes import envoy as module
from marloft.deploy.processes.descriptors import most_connections
from marloft.deploy.processes.envoy import Envoy
from tests.unit.deploy.local_server import Answer, LocalServer

Make = Callable[..., Envoy]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make an Envoy of this project."""

    def made(offset: int = 100, host: str = "127.0.0.1", routes: str = "routes.json") -> Envoy:
        return Envoy(
            tmp_path / "var", tmp_path / routes, Ports(offset=offset), Exposure(gateway=host)
        )

    return made


def test_bootstrap_is_written_where_the_command_reads_it(make: Make, tmp_path: Path) -> None:
    launch = make().prepare()
    path = Path(launch.command[launch.command.index("--config-path") + 1])
    assert path == tmp_path / "var" / "run" / "envoy.json"
    assert path.read_bytes() == render_bootstrap(
        Ports(offset=100),
        tmp_path / "routes.json",
        exposure=Exposure(),
        most_connections=most_connections(),
    )
    assert launch.cwd == path.parent


def test_console_and_record_lie_below_the_state_folder(make: Make, tmp_path: Path) -> None:
    envoy = make()
    envoy.launch(["sleep", "60"], os.environ, tmp_path)
    assert envoy.console == tmp_path / "var" / "log" / "envoy.log"
    assert envoy.console.is_file()
    assert (tmp_path / "var" / "run" / "processes" / "envoy.json").is_file()
    envoy.stop()


def test_exposed_address_gets_into_the_bootstrap(make: Make, tmp_path: Path) -> None:
    make(host="0.0.0.0").prepare()
    config = json.loads((tmp_path / "var" / "run" / "envoy.json").read_bytes())
    gateway, operations = config["static_resources"]["listeners"]
    assert gateway["address"]["socket_address"] == {"address": "0.0.0.0", "port_value": 8100}
    assert operations["address"]["socket_address"]["address"] == "127.0.0.1"


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (3, 1), (16, 8)])
def test_workers_keep_half_of_the_cores(
    make: Make, monkeypatch: pytest.MonkeyPatch, cores: int, threads: int
) -> None:
    monkeypatch.setattr(module, "available_cores", lambda: cores)
    command = make().prepare().command
    assert command[command.index("--concurrency") + 1] == str(threads)


def test_same_envoy_has_the_same_fingerprint(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    first = make().prepare().fingerprint
    monkeypatch.setenv("ANOTHER", "inherited")
    assert make().prepare().fingerprint == first


def test_what_matters_changes_the_fingerprint(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    prints = [
        made.prepare().fingerprint
        for made in (make(), make(offset=200), make(host="0.0.0.0"), make(routes="other.json"))
    ]
    monkeypatch.setattr(module, "version", lambda _: "another")
    prints.append(make().prepare().fingerprint)
    assert len(set(prints)) == 5


def test_ready_is_who_has_its_routes(make: Make, server: LocalServer) -> None:
    envoy = make(offset=server.port - Ports().envoy_admin)
    answers = iter(
        [
            Answer(body="LIVE\n"),
            Answer(body="PRE_INITIALIZING\n", status=503),
            Answer(body="DRAINING\n"),
        ]
    )
    server.answer = lambda _: next(answers)
    assert [envoy.probe() for _ in range(3)] == [True, False, False]
    assert {asked.path for asked in server.asked} == {"/ready"}
    server.close()
    assert not envoy.probe()
