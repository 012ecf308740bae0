"""What a confined program can and cannot do; each limit has its control outside."""

import os
import socket
import sys
import time
from pathlib import Path

import pytest

from marloft.archive.sandbox.confinement import ConfinedRun, Limits, run

FEW = Limits(wall_s=10.0, memory_bytes=4 << 30, file_bytes=1 << 20)


def _run(folder: Path, code: str, limits: Limits = FEW) -> ConfinedRun:
    return run([sys.executable, "-I", "-c", code], folder, folder, limits)


def _granted(outcome: ConfinedRun, what: str) -> None:
    if not getattr(outcome.isolation, what):
        pytest.skip(f"this kernel does not grant {what}: {outcome.isolation.why}")


def test_it_writes_in_its_folder_and_nowhere_else(tmp_path: Path) -> None:
    scratch, outside = tmp_path / "scratch", tmp_path / "outside"
    scratch.mkdir()
    write = f"open({str(scratch / 'in')!r}, 'w').close(); open({str(outside)!r}, 'w').close()"
    outcome = run([sys.executable, "-I", "-c", write], scratch, scratch, FEW)
    assert (scratch / "in").exists()
    _granted(outcome, "mounts")
    assert "Read-only file system" in outcome.log
    assert not outside.exists()
    exec(write)
    assert outside.exists()


def test_it_reaches_no_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        call = f"import socket; socket.create_connection({address!r}, 2).close()"
        outcome = _run(tmp_path, call)
        _granted(outcome, "network")
        assert outcome.status == 1
        exec(call)


def test_it_has_no_capability_and_gets_none(tmp_path: Path) -> None:
    show = "print([l.split()[1] for l in open('/proc/self/status') if l.startswith('CapEff')][0])"
    outcome = _run(tmp_path, show)
    _granted(outcome, "user")
    assert int(outcome.log, 16) == 0


def test_it_cannot_make_its_files_writable_again(tmp_path: Path) -> None:
    remount = (
        "import ctypes; c = ctypes.CDLL(None); "
        "print(c.unshare(0x10020000), c.mount(b'none', b'/', None, 0x20 | 0x1000, None), "
        "c.mount(b'none', b'/', None, 0x20, None))\n"
        "open('/hostile', 'w')"
    )
    outcome = _run(tmp_path, remount)
    _granted(outcome, "mounts")
    assert "Read-only file system" in outcome.log
    assert not Path("/hostile").exists()


def test_it_sees_and_signals_no_process_of_others(tmp_path: Path) -> None:
    outcome = _run(tmp_path, f"import os; os.kill({os.getpid()}, 0)")
    _granted(outcome, "processes")
    assert "No such process" in outcome.log


def test_time_runs_out_for_it_and_its_children(tmp_path: Path) -> None:
    code = "import os, time; os.fork(); time.sleep(60)"
    outcome = _run(tmp_path, code, Limits(wall_s=0.5))
    assert outcome.status is None
    assert outcome.timed_out


def test_what_it_leaves_running_is_reported_and_ended(tmp_path: Path) -> None:
    child = "os.setsid(); time.sleep(0.9); open('alive', 'w')"
    code = f"import os, time\nif os.fork() == 0: {child}"
    outcome = _run(tmp_path, code)
    assert outcome.status == 0
    assert outcome.left_running
    time.sleep(1)
    assert not (tmp_path / "alive").exists()


def test_child_that_ends_with_it_is_not_left(tmp_path: Path) -> None:
    code = "import os, time\nif os.fork() == 0: time.sleep(0.1)"
    assert not _run(tmp_path, code).left_running


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("bytearray(8 << 30)", "MemoryError"),
        ("open('f', 'wb').write(bytes(2 << 20))", ""),
        ("[open('/dev/null') for _ in range(2000)]", "Too many open files"),
    ],
)
def test_limits_hold(tmp_path: Path, code: str, says: str) -> None:
    outcome = _run(tmp_path, f"keep = {code}")
    assert outcome.status != 0
    assert says in outcome.log
