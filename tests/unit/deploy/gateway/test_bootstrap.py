import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from marloft.deploy.gateway.bootstrap import envoy_command, render_bootstrap
from marloft.deploy.gateway.clusters import render_clusters
from marloft.deploy.ports import Exposure, Ports


@pytest.fixture
def routes_file(tmp_path: Path) -> Path:
    return tmp_path / "routes" / "routes.json"


@pytest.fixture
def bootstrap(routes_file: Path) -> Any:
    return json.loads(render_bootstrap(Ports(offset=100), routes_file))


def manager(bootstrap: Any) -> Any:
    listener = bootstrap["static_resources"]["listeners"][0]
    return listener["filter_chains"][0]["filters"][0]["typed_config"]


def validate(config: bytes, folder: Path) -> subprocess.CompletedProcess[str]:
    path = folder / "envoy.json"
    path.write_bytes(config)
    command = [*envoy_command(path, concurrency=1), "--mode", "validate"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_bootstrap_is_accepted_by_envoy(routes_file: Path, tmp_path: Path) -> None:
    routes_file.parent.mkdir()
    routes_file.touch()
    routes_file.with_name("clusters.json").write_bytes(render_clusters({}, {}, 8080))
    result = validate(render_bootstrap(Ports(), routes_file), tmp_path)
    assert result.returncode == 0, result.stderr


def test_bootstrap_validation_refuses_an_unknown_field(bootstrap: Any, tmp_path: Path) -> None:
    manager(bootstrap)["http_filters"][0]["typed_config"]["largest"] = 1
    result = validate(json.dumps(bootstrap).encode(), tmp_path)
    assert result.returncode != 0
    assert "largest" in result.stderr


def test_bootstrap_binds_the_shifted_ports_on_loopback(bootstrap: Any) -> None:
    resources = bootstrap["static_resources"]
    endpoint = resources["clusters"][0]["load_assignment"]["endpoints"][0]["lb_endpoints"][0]
    addresses = [
        resources["listeners"][0]["address"],
        bootstrap["admin"]["address"],
        endpoint["endpoint"]["address"],
    ]
    assert [a["socket_address"] for a in addresses] == [
        {"address": "127.0.0.1", "port_value": port} for port in (8100, 10001, 8180)
    ]


def test_bootstrap_opens_only_the_gateway_to_another_host(routes_file: Path) -> None:
    text = json.loads(render_bootstrap(Ports(), routes_file, exposure=Exposure(gateway="0.0.0.0")))
    listener = text["static_resources"]["listeners"][0]
    assert listener["address"]["socket_address"]["address"] == "0.0.0.0"
    operations = text["static_resources"]["listeners"][1]
    assert operations["address"]["socket_address"]["address"] == "127.0.0.1"
    assert text["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"


def test_bootstrap_watches_clusters_and_routes_in_one_folder(
    bootstrap: Any, routes_file: Path
) -> None:
    clusters = bootstrap["dynamic_resources"]["cds_config"]["path_config_source"]
    routes = manager(bootstrap)["rds"]["config_source"]["path_config_source"]
    assert clusters["path"] == str(routes_file.with_name("clusters.json"))
    assert routes["path"] == str(routes_file)
    assert clusters["watched_directory"] == routes["watched_directory"]


def test_bootstrap_is_the_same_bytes_each_time(routes_file: Path) -> None:
    first, second = (render_bootstrap(Ports(), routes_file) for _ in range(2))
    assert first == second


def test_envoy_command_runs_the_installed_envoy_quietly(tmp_path: Path) -> None:
    command = envoy_command(tmp_path / "envoy.json", concurrency=2)
    assert Path(command[0]).is_file()
    assert command[command.index("--log-level") + 1] == "warn"
    assert command[command.index("--concurrency") + 1] == "2"
    assert "--disable-hot-restart" in command
