"""What hurts `marloft serve` and ends nothing: full disks, stopped processes, damaged files.

While a fault lasts `marloft status` names it and exits with 1; when it is over, all is well by
itself.
"""

import errno
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import psutil
import pytest

from harness import factories
from harness.serving import run_marloft
from marloft.contract.live import live_path
from marloft.deploy.processes.consoles import MOST_BYTES
from marloft.deploy.processes.record import ProcessRecord
from marloft.files import read_json
from tests.e2e.running import Driver, Serving, configure, marloft
from tests.required_programs import missing

pytestmark = pytest.mark.e2e

DEPLOYMENT = """\
default_model: ranker
models:
  ranker: {versions: {"1.0": {workers: 2}}, default: "1.0"}
log: {disk_full: serve}
"""
RATE = 20
# How long a stopped process may be silent (docs/releases.md), and a start on busy cores.
JAVA_S, START_S = 15.0, 60.0
NAMED_S = 5.0


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project whose `var` is a small file system of its own, if this machine lets us mount."""
    folder = tmp_path_factory.mktemp("project")
    factories.write_project(folder)
    for config in (folder / "archive_configs").glob("*.yaml"):
        if config.stem != "ranker_v1":
            config.unlink()
    var = folder / "var"
    var.mkdir()
    mounted = mount("-t", "tmpfs", "-o", "size=48m,mode=755", "tmpfs", str(var))
    configure(folder, DEPLOYMENT)
    marloft(folder, "apply")
    yield folder
    if mounted:
        subprocess.run(["umount", "--lazy", str(var)], check=True)


@pytest.fixture(scope="module")
def serving(project: Path) -> Iterator[Serving]:
    with Serving(project) as running:
        yield running
        assert running.process.poll() is None, "no fault has ended it"


def mount(*words: str) -> bool:
    return subprocess.run(["mount", *words], capture_output=True, check=False).returncode == 0


def status(serving: Serving) -> tuple[int, str]:
    """Run `marloft status` and return its exit code and what it said."""
    offset = str(serving.ports.offset)
    done = run_marloft(serving.project, "status", "--port-offset", offset)
    return done.returncode, done.stdout + done.stderr


def named(serving: Serving, *faults: str) -> None:
    """Wait until `status` names every fault and exits with 1."""
    started = time.monotonic()
    while True:
        asked = time.monotonic()
        code, said = status(serving)
        if code == 1 and all(fault in said for fault in faults):
            return
        # Busy cores cost the start of a Python; the answer itself waits for nobody.
        assert asked - started < 3 * NAMED_S, (faults, code, said)


def well(serving: Serving, limit_s: float = 60.0) -> None:
    """Wait until `status` finds nothing wrong."""
    deadline = time.monotonic() + limit_s
    while (found := status(serving))[0] != 0:
        assert time.monotonic() < deadline, found
        time.sleep(0.2)


def process_of(serving: Serving, name: str) -> psutil.Process:
    record = serving.project / "var" / "run" / "processes" / f"{name}.json"
    return psutil.Process(read_json(record, ProcessRecord).pid)


def java(serving: Serving) -> psutil.Process:
    family = process_of(serving, "torchserve").children(recursive=True)
    (found,) = [process for process in family if process.name() == "java"]
    return found


def metrics(serving: Serving) -> str:
    url = f"http://127.0.0.1:{serving.ports.operations}/metrics/serve"
    return httpx2.get(url, timeout=5).text


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Fill the file system of a folder to its last byte."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as stream:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    stream.write(bytes(size))
            except OSError as error:
                assert error.errno == errno.ENOSPC
    try:
        yield
    finally:
        ballast.unlink()


def needs_mount(project: Path) -> None:
    if not os.path.ismount(project / "var"):
        missing("needs to mount a small tmpfs: run as root, with CAP_SYS_ADMIN")


def test_logs_say_nothing_of_single_requests(serving: Serving, project: Path) -> None:
    for _ in range(20):
        assert serving.predict(user_id=7, features=[{"item_id": 50}]).status_code == 200
    logs = project / "var" / "log" / "torchserve"
    assert {path.name for path in logs.iterdir()} == {"console.log", "model_log.log", "ts_log.log"}
    said = (logs / "model_log.log").read_text()
    assert "MODEL_LOG - model_name: ranker" in said
    assert "Backend received inference" not in said
    assert {path.stat().st_mode & 0o777 for path in logs.iterdir()} == {0o600}


def test_long_console_is_emptied_while_it_is_written(serving: Serving, project: Path) -> None:
    console = project / "var" / "log" / "torchserve" / "console.log"
    with console.open("ab") as stream:
        stream.write(b"said\n" * (MOST_BYTES // 5 + 1))
    deadline = time.monotonic() + 20
    while console.stat().st_size > MOST_BYTES:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    older = console.with_name("console.log.1")
    assert older.stat().st_size > MOST_BYTES
    older.unlink()


def test_full_disk_is_named_and_costs_no_request(serving: Serving, project: Path) -> None:
    needs_mount(project)
    with Driver(serving, RATE) as driver, full(project / "var"):
        named(serving, "the state folder: ", "the prediction log: ", "No space left on device")
        assert 'marloft_serve_fault{subject="the state folder"} 1.0' in metrics(serving)
        process_of(serving, "envoy").kill()
        named(serving, "No space left on device")
        time.sleep(1)
        before = len(driver.sent)
        time.sleep(1)
        assert {sent.status for sent in driver.sent[before:]} == {200}
    well(serving)
    assert "marloft_serve_fault{" not in metrics(serving)


def test_read_only_state_is_named_and_costs_no_request(serving: Serving, project: Path) -> None:
    needs_mount(project)
    var = str(project / "var")
    with Driver(serving, RATE) as driver:
        assert mount("--bind", var, var)
        assert mount("-o", "remount,bind,ro", var)
        try:
            named(serving, "the state folder: ", "Read-only file system")
        finally:
            subprocess.run(["umount", var], check=True)
        well(serving)
    assert {sent.status for sent in driver.sent} == {200}


def test_damaged_state_files_are_named_or_written_again(serving: Serving, project: Path) -> None:
    var = project / "var"
    record = var / "run" / "processes" / "envoy.json"
    routes = var / "run" / "routes" / "routes.json"
    before = {path: path.read_bytes() for path in (record, routes)}
    live_path(var).unlink()
    live_path(var).mkdir()
    (var / "events.jsonl").replace(var / "kept.jsonl")
    (var / "events.jsonl").mkdir()
    (var / "releases" / "000002.json").write_text("{")
    for path in before:
        path.write_text("{")
    (var / "lock").write_text("")
    named(serving, "live.json: ", "events.jsonl: ", "000002.json")
    live_path(var).rmdir()
    (var / "events.jsonl").rmdir()
    (var / "releases" / "000002.json").unlink()
    well(serving)
    assert {path: path.read_bytes() for path in before} == before
    assert live_path(var).is_file()
    assert int((var / "lock").read_text()) == serving.ports.supervisor


def test_lock_that_is_gone_is_named(serving: Serving, project: Path) -> None:
    lock = project / "var" / "lock"
    lock.rename(lock.with_name("moved"))
    named(serving, "the lock: ", "a second one could start")
    lock.with_name("moved").rename(lock)
    well(serving)


def test_stopped_processes_are_named_and_started_again(serving: Serving) -> None:
    victims = [java(serving), process_of(serving, "envoy"), process_of(serving, "exporter")]
    for victim in victims:
        victim.send_signal(signal.SIGSTOP)
    named(
        serving,
        "TorchServe does not answer",
        "the gateway does not answer",
        "The metrics exporter: does not answer",
    )
    well(serving, 2 * JAVA_S + START_S)
    assert serving.predict(user_id=7, features=[{"item_id": 50}]).status_code == 200
    assert [victim for victim in victims if victim.is_running()] == []
    assert 'marloft_serve_restarts_total{process="TorchServe"} 1.0' in metrics(serving)


def test_stopped_supervisor_is_named(serving: Serving) -> None:
    serving.process.send_signal(signal.SIGSTOP)
    try:
        named(serving, "`marloft serve` does not answer at port")
        assert serving.predict(user_id=7, features=[{"item_id": 50}]).status_code == 200
    finally:
        serving.process.send_signal(signal.SIGCONT)
    well(serving)
