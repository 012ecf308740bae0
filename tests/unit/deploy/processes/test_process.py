"""A process of our own: found again by the next supervisor, and never taken for another's."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from marloft.deploy.processes.process import Launch, ManagedProcess, ProcessRecord
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

    def probe(self) -> bool:
        return self.ready


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
        "Sleeper._write_record = lambda self, pid, _: (print(pid, flush=True), "
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
