"""TorchServe's properties, its command, and what makes a running one the same as a new one."""

import os
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from harness.factories import REPOSITORY
from marloft.deploy.ports import Ports
from marloft.deploy.processes import torchserve as module
from marloft.deploy.processes.torchserve import (
    TorchServe,
    check_temporary_folder,
    read_properties,
    serving_properties,
)
from marloft.deploy.processes.torchserve_log import log_config, with_log_config
from marloft.errors import ConfigError, ServingError
from marloft.monitoring.exporter import WORKERS_FOLDER
from tests.unit.deploy.local_server import Answer, LocalServer

Make = Callable[..., "Unstarted"]
CONFIG = """\
# a comment
inference_address=http://0.0.0.0:1
load_models=all
models={"ranker": {}}
number_of_netty_threads=1
"""


class Unstarted(TorchServe):
    """A TorchServe that notes how it would be started."""

    def launch(
        self, command: Sequence[str], env: Mapping[str, str], cwd: Path, fingerprint: str = ""
    ) -> None:
        self.launched = (list(command), dict(env), cwd, fingerprint)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.properties"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def make(tmp_path: Path, config: Path) -> Make:
    """Make a TorchServe of this project."""

    def made(store: str = "store", offset: int = 100) -> Unstarted:
        return Unstarted(config, tmp_path / store, tmp_path / "var", Ports(offset=offset))

    return made


def written(folder: Path) -> dict[str, str]:
    """Return the properties that TorchServe is started on."""
    return read_properties(folder / "var" / "run" / "config.properties")


def test_properties_are_key_and_value_by_line(tmp_path: Path) -> None:
    path = tmp_path / "config.properties"
    path.write_text("# a=1\n! b=2\n\n  c = 3 \nvmargs=-Xmx1g -Da=b\nempty=\n")
    assert read_properties(path) == {"c": "3", "vmargs": "-Xmx1g -Da=b", "empty": ""}


def test_line_that_is_no_property_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "config.properties"
    path.write_text("a=1\n\nload_models\n")
    with pytest.raises(ConfigError) as caught:
        read_properties(path)
    assert str(caught.value) == f"{path}:3: 'load_models' is not key=value."


def test_missing_properties_say_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="project folder or name --config; `marloft new` writes one"
    ):
        read_properties(tmp_path / "config.properties")


def test_served_properties_are_the_projects_but_for_ports_store_and_models(
    config: Path, tmp_path: Path
) -> None:
    text = serving_properties(config, tmp_path / "store", Ports(offset=100))
    assert dict(line.split("=", 1) for line in text.splitlines()) == {
        "number_of_netty_threads": "1",
        "inference_address": "http://127.0.0.1:8180",
        "management_address": "http://127.0.0.1:8181",
        "metrics_address": "http://127.0.0.1:8182",
        "grpc_inference_address": "127.0.0.1",
        "grpc_management_address": "127.0.0.1",
        "allowed_urls": "file:///nowhere",
        "grpc_inference_port": "7170",
        "grpc_management_port": "7171",
        "initial_worker_port": "9100",
        "model_store": str(tmp_path / "store"),
        "job_queue_size": "100000",
    }


def test_no_setting_opens_torchserve_to_others(tmp_path: Path) -> None:
    path = tmp_path / "config.properties"
    opened = [
        f"{api}_address=http://0.0.0.0:8080" for api in ("inference", "management", "metrics")
    ]
    opened += [f"grpc_{api}_address=0.0.0.0" for api in ("inference", "management")]
    path.write_text("\n".join([*opened, "allowed_urls=http(s)?://.*", "load_models=all"]))
    text = serving_properties(path, tmp_path, Ports())
    assert "0.0.0.0" not in text
    assert "allowed_urls=file:///nowhere" in text
    assert "load_models" not in text


def test_stock_torchserve_is_closed_to_others_by_the_projects_file() -> None:
    found = read_properties(REPOSITORY / "config.properties")
    addresses = {value for key, value in found.items() if key.endswith("_address")}
    assert {urlsplit(each).hostname or each for each in addresses} == {"127.0.0.1"}
    assert len([key for key in found if key.endswith("_address")]) == 5
    assert found["allowed_urls"] == "file:///nowhere"
    assert found["load_models"] != "all"


def test_repositorys_own_file_keeps_every_other_setting(tmp_path: Path) -> None:
    path = REPOSITORY / "config.properties"
    (tmp_path / "served").write_text(serving_properties(path, tmp_path, Ports()))
    own, served = read_properties(path), read_properties(tmp_path / "served")
    assert "load_models" in own and "load_models" not in served
    changed = {key for key in own if own[key] != served.get(key)}
    assert changed == {"load_models", "model_store"}, "the ports are TorchServe's own there"


def test_command_starts_torchserve_of_this_python_on_the_written_properties(
    make: Make, tmp_path: Path
) -> None:
    launch = make().prepare()
    properties = tmp_path / "var" / "run" / "config.properties"
    assert launch.command == [
        str(Path(sys.executable).with_name("torchserve")),
        "--start",
        "--foreground",
        "--ncs",
        "--model-store",
        str(tmp_path / "store"),
        "--ts-config",
        str(properties),
    ]
    expected = serving_properties(
        tmp_path / "config.properties",
        tmp_path / "store",
        Ports(offset=100),
        vmargs=with_log_config("", "../log/torchserve"),
    )
    assert properties.read_text() == expected


def test_console_and_record_lie_below_the_state_folder(config: Path, tmp_path: Path) -> None:
    torchserve = TorchServe(config, tmp_path / "store", tmp_path / "var", Ports())
    torchserve.launch(["sleep", "60"], os.environ, tmp_path)
    assert torchserve.console == tmp_path / "var" / "log" / "torchserve" / "console.log"
    assert torchserve.console.is_file()
    assert (tmp_path / "var" / "run" / "processes" / "torchserve.json").is_file()
    torchserve.stop()


def test_environment_says_where_workers_write_and_hides_what_would_override_it(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TS_CONFIG_FILE", "PYTHONPATH", "MARLOFT_VAR", "ANOTHER"):
        monkeypatch.setenv(name, "inherited")
    env = make().prepare().env
    assert "TS_CONFIG_FILE" not in env
    assert "PYTHONPATH" not in env
    assert env["ANOTHER"] == "inherited"
    assert env["MARLOFT_VAR"] == str(tmp_path / "var")
    assert env["PYTHONFAULTHANDLER"] == "1"
    assert env["LOG_LOCATION"] == str(tmp_path / "var" / "log" / "torchserve")
    assert (Path(env["JAVA_HOME"]) / "bin" / "java").is_file()


def test_same_torchserve_has_the_same_fingerprint(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make().prepare().fingerprint
    monkeypatch.setenv("ANOTHER", "inherited")
    assert make().prepare().fingerprint == first


def test_what_matters_changes_the_fingerprint(
    make: Make, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prints = [make().prepare().fingerprint]
    prints.append(make(store="other").prepare().fingerprint)
    prints.append(make(offset=200).prepare().fingerprint)
    config.write_text(CONFIG.replace("threads=1", "threads=2"))
    prints.append(make().prepare().fingerprint)
    monkeypatch.setattr(module, "version", lambda _: "another")
    prints.append(make().prepare().fingerprint)
    assert len(set(prints)) == 5


def test_javas_arguments_are_the_projects_and_those_of_our_logs(
    make: Make, config: Path, tmp_path: Path
) -> None:
    config.write_text(f"{CONFIG}\nvmargs=-Xmx1g\n")
    make().prepare()
    words = written(tmp_path)["vmargs"].split()
    assert words[0] == "-Xmx1g"
    assert words[1:] == [
        "-Dlog4j.configurationFile=torchserve-log4j2.xml",
        "-XX:ErrorFile=../log/torchserve/hs_err_pid%p.log",
    ]
    assert (tmp_path / "var" / "run" / "torchserve-log4j2.xml").read_text() == log_config()


def test_nothing_is_loaded_at_start_unless_it_is_said(make: Make, tmp_path: Path) -> None:
    server = make()
    assert server.prepare().once == []
    server.load_at_start(["ranker-1.0.mar", "outcomes-1.0.mar"])
    assert server.prepare().once == ["--models", "ranker-1.0.mar", "outcomes-1.0.mar"]
    assert "load_models" not in written(tmp_path)


def test_what_is_loaded_at_start_makes_no_other_torchserve(make: Make) -> None:
    server = make()
    first = server.prepare().fingerprint
    server.load_at_start(["ranker-1.0.mar"])
    assert server.prepare().fingerprint == first, "the next supervisor could not take it over"


def test_each_start_has_a_folder_of_its_own_and_fresh_counts(make: Make, tmp_path: Path) -> None:
    counts = tmp_path / "var" / WORKERS_FOLDER / "counter_1.db"
    counts.parent.mkdir(parents=True)
    counts.touch()
    server = make()
    server.spawn()
    command, env, cwd, fingerprint = server.launched
    folder = server.folder
    assert folder is not None and folder.is_dir()
    assert env["TEMP"] == env["TMPDIR"] == str(folder)
    assert folder.parent == Path(tempfile.gettempdir()), "a socket's path may have 107 bytes"
    same = make().prepare()
    assert (command, cwd, fingerprint) == (same.command, same.cwd, same.fingerprint)
    assert not counts.exists()
    server.stop()
    assert not folder.exists()
    assert server.folder is None


def test_folder_of_an_adopted_torchserve_is_removed_with_it(make: Make, tmp_path: Path) -> None:
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    server = make()
    server.take_folder(unpacked)
    assert server.folder == unpacked
    server.stop()
    assert not unpacked.exists()


def test_ready_is_who_answers_at_the_management_port(make: Make, server: LocalServer) -> None:
    torchserve = make(offset=server.port - Ports().management)
    assert torchserve.probe()
    assert (server.asked[0].path, server.asked[0].query) == ("/models", {"limit": "1"})
    server.answer = lambda _: Answer(body="", status=503)
    assert not torchserve.probe()
    server.close()
    assert not torchserve.probe()


def temporary_folder(parent: Path, length: int) -> Path:
    """Return an existing folder whose path has so many bytes."""
    rest = length - len(os.fsencode(parent))
    folder = parent / "/".join(["d" * 30] * ((rest - 2) // 31) + ["d" * ((rest - 2) % 31 + 1)])
    folder.mkdir(parents=True)
    assert len(os.fsencode(folder)) == length
    return folder


@pytest.mark.parametrize("over", [0, 1])
def test_temporary_folder_is_refused_where_the_kernel_would_refuse_a_worker(
    monkeypatch: pytest.MonkeyPatch, over: int
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as parent:
        folder = temporary_folder(Path(parent), 75 + over)
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        path = Path(tempfile.mkdtemp(prefix="marloft-")) / ".ts.sock.65535"
        with socket.socket(socket.AF_UNIX) as worker:
            if over == 0:
                check_temporary_folder()
                worker.bind(str(path))
                return
            with pytest.raises(OSError, match="AF_UNIX path too long"):
                worker.bind(str(path))
        with pytest.raises(ServingError, match=r"has 76 bytes, must have 75 .*`TMPDIR=/tmp marlo"):
            check_temporary_folder()
