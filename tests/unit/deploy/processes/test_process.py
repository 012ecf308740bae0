"""A process of our own: found again by the next supervisor, and never taken for another's."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from marloft.deploy.processes.process import Launch, ManagedProcess
from marloft.deploy.processes.record import ProcessRecord
from marloft.errors import ServingError
from marloft.files import read_json, write_json


class Sleeper(ManagedProcess):
    name = "Sleeper"
    stop_patience_s = 5.0
    adopt_s = 0.0

    def __init__(self, folder: Path, seconds: int = 60) -> None:
        super().__init__(folder / "console.log", folder / "sleeper.json")
        self.seconds = seconds
        self.ready = True

    def prepare(self) -> Launch:
        command = [sys.executable, "-c", f"import time; time.sleep({self.seconds})"]
        return Launch(command=command, env=dict(os.environ), cwd=self.console.parent)

    def probe(self, timeout_s: float = 1.0) -> bool:  # noqa: ARG002
        return self.ready


class Folded(Sleeper):
    """A process that unpacks something."""

    unpacked: Path | None = None

    @property
    def folder(self) -> Path | None:
        return self.unpacked

    def take_folder(self, folder: Path) -> None:
        self.unpacked = folder


def test_process_is_started_in_a_context_and_leaves_nothing(tmp_path: Path) -> None:
    with Sleeper(tmp_path) as sleeper:
        assert sleeper.is_alive()
        running = psutil.Process(sleeper.pid)
    assert sleeper.pid is None
    assert is_gone(running)
    assert not (tmp_path / "sleeper.json").exists()


def test_stopped_process_is_noticed_until_it_goes_on(tmp_path: Path) -> None:
    with Sleeper(tmp_path) as process:
        assert process.pid is not None
        process.check_not_stopped()
        os.kill(process.pid, signal.SIGSTOP)
        with pytest.raises(ServingError, match=f"kill -CONT {process.pid}"):
            wait_for_stop(process)
        os.kill(process.pid, signal.SIGCONT)
        process.check_not_stopped()
    process.check_not_stopped()


def wait_for_stop(process: ManagedProcess) -> None:
    for _ in range(100):
        process.check_not_stopped()
        time.sleep(0.05)


def test_process_that_is_not_ready_in_time_leaves_nothing(tmp_path: Path) -> None:
    sleeper = Sleeper(tmp_path)
    sleeper.ready, sleeper.start_s = False, 0.05
    with pytest.raises(ServingError) as caught, sleeper:
        raise AssertionError
    assert str(caught.value) == f"Sleeper was not ready in 0.05 s. See {tmp_path}/console.log."
    assert sleeper.pid is None


def test_process_that_ends_while_it_starts_is_told_by_its_last_words(tmp_path: Path) -> None:
    sleeper = Sleeper(tmp_path)
    sleeper.ready = False
    sleeper.launch(["sh", "-c", "echo first; echo no memory; echo; exit 3"], os.environ, tmp_path)
    with pytest.raises(ServingError) as caught:
        sleeper.wait_until_ready()
    assert str(caught.value) == (
        f"Sleeper ended with code 3; last words: 'no memory'. See {tmp_path}/console.log."
    )
    sleeper.stop()


def test_process_that_never_started_has_not_ended(tmp_path: Path) -> None:
    sleeper = Sleeper(tmp_path)
    sleeper.check_alive()
    assert (sleeper.pid, sleeper.is_alive()) == (None, False)
    sleeper.stop()


def test_fingerprint_is_of_the_command_and_the_identity_alone(tmp_path: Path) -> None:
    launch = Launch(command=["sleep", "1"], env={}, cwd=tmp_path, identity={"a": "1"})
    # The SHA-256 of both as compact JSON.
    text = b'[["sleep","1"],{"a":"1"}]'
    assert launch.fingerprint == hashlib.sha256(text).hexdigest()
    elsewhere = replace(launch, env={"HOME": "/"}, cwd=Path("/"))
    assert elsewhere.fingerprint == launch.fingerprint


@pytest.mark.parametrize("ready", [True, False])
def test_folder_is_taken_over_with_its_process_or_removed(tmp_path: Path, ready: bool) -> None:
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    earlier = Folded(tmp_path)
    earlier.unpacked = unpacked
    earlier.start()
    later = Folded(tmp_path)
    later.ready = ready
    assert later.adopt() is ready
    assert unpacked.exists() is ready
    assert later.unpacked == unpacked
    for each in (later, earlier):
        each.stop()


@pytest.fixture
def orphan(tmp_path: Path) -> Iterator[psutil.Process]:
    """Leave a process behind, as a supervisor that is killed does."""
    code = (
        "from pathlib import Path; from tests.unit.deploy.processes.test_process import Sleeper; "
        f"Sleeper(Path({str(tmp_path)!r})).start()"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[4], check=True)
    process = psutil.Process(read_json(tmp_path / "sleeper.json", ProcessRecord).pid)
    yield process
    if process.is_running():
        process.kill()


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_adopt_takes_over_the_same_process_and_stops_it(
    tmp_path: Path, orphan: psutil.Process
) -> None:
    sleeper = Sleeper(tmp_path)
    assert sleeper.adopt()
    assert sleeper.pid == orphan.pid
    assert sleeper.is_alive()
    sleeper.stop()
    assert is_gone(orphan)
    assert not (tmp_path / "sleeper.json").exists()


def test_adopted_process_that_ends_is_noticed(tmp_path: Path, orphan: psutil.Process) -> None:
    sleeper = Sleeper(tmp_path)
    assert sleeper.adopt()
    orphan.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 5
    while sleeper.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not sleeper.is_alive()
    assert "Sleeper ended; last words" in sleeper.last_words()


def test_adopt_ends_a_process_that_was_started_otherwise(
    tmp_path: Path, orphan: psutil.Process
) -> None:
    assert not Sleeper(tmp_path, seconds=61).adopt()
    assert is_gone(orphan)


def test_adopt_ends_a_process_whose_supervisor_was_killed_before_its_record(
    tmp_path: Path,
) -> None:
    folders = [tmp_path / name for name in ("killed", "another")]
    code = (
        "from pathlib import Path; from tests.unit.deploy.processes.test_process import *; "
        "import marloft.deploy.processes.process as module; "
        "module.record_of = lambda pid, *_: (print(pid, flush=True), "
        "os.kill(os.getpid(), signal.SIGKILL)); Sleeper(Path({!r})).start()"
    )
    processes = []
    for folder in folders:
        command = [sys.executable, "-c", code.format(str(folder))]
        done = subprocess.run(
            command, cwd=Path(__file__).parents[4], capture_output=True, text=True, check=False
        )
        assert done.returncode == -signal.SIGKILL
        processes.append(psutil.Process(int(done.stdout)))
    killed, another = processes
    assert not Sleeper(folders[0]).adopt()
    assert is_gone(killed)
    assert not is_gone(another), "another project's"
    assert not Sleeper(folders[1]).adopt()
    assert is_gone(another)


def test_adopt_ends_a_process_that_does_not_answer(tmp_path: Path, orphan: psutil.Process) -> None:
    sleeper = Sleeper(tmp_path)
    sleeper.ready = False
    assert not sleeper.adopt()
    assert is_gone(orphan)
    assert sleeper.pid is None


def test_adopt_leaves_another_program_with_the_same_pid_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as other:
        created = psutil.Process(other.pid).create_time() - 1
        record = ProcessRecord(pid=other.pid, created=created, fingerprint="ours")
        write_json(tmp_path / "sleeper.json", record)
        assert not Sleeper(tmp_path).adopt()
        assert other.poll() is None
        other.kill()


@pytest.mark.parametrize("content", ["", "{", '{"pid": 1}'])
def test_adopt_forgets_a_torn_record(tmp_path: Path, content: str) -> None:
    (tmp_path / "sleeper.json").write_text(content)
    assert not Sleeper(tmp_path).adopt()
    assert not (tmp_path / "sleeper.json").exists()


def test_record_is_kept_as_long_as_the_process_runs(tmp_path: Path) -> None:
    record = tmp_path / "sleeper.json"
    with Sleeper(tmp_path) as sleeper:
        before = record.read_bytes()
        for damage in (record.unlink, lambda: record.write_text("{")):
            damage()
            sleeper.keep_record()
            assert record.read_bytes() == before
        record.unlink()
        record.mkdir()
        with pytest.raises(OSError, match="sleeper"):
            sleeper.keep_record()
        record.rmdir()
    sleeper.keep_record()
    assert not record.exists(), "nothing runs"


def test_process_runs_where_neither_record_nor_console_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "sleeper.json").mkdir()
    (tmp_path / "console.log").mkdir()
    with Sleeper(tmp_path) as sleeper:
        assert sleeper.is_alive()
        assert "last words: ''" in sleeper.last_words()


def test_left_over_process_is_ended_though_its_record_is_damaged(tmp_path: Path) -> None:
    first = Sleeper(tmp_path)
    first.start()
    running = psutil.Process(first.pid)
    (tmp_path / "sleeper.json").write_text("{")
    Sleeper(tmp_path).end_earlier()
    first.is_alive()
    assert is_gone(running)
