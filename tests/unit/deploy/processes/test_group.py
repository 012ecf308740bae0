"""A process group ends with all that it started; the processes are real and do nothing."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from marloft.deploy.processes.group import end_group, marked_groups

PATIENCE_S = 10.0
# A first process of a container in small: it adopts what its children leave behind, ends a group
# whose leader has ended already, and says how long that took and whether the orphan still counts.
FIRST_PROCESS = """
import ctypes, os, subprocess, time
from marloft.deploy.processes.group import end_group
PR_SET_CHILD_SUBREAPER = 36
assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
leader = subprocess.Popen(
    ["sh", "-c", "sleep 60 & echo $!"], stdout=subprocess.PIPE, start_new_session=True
)
orphan = int(leader.stdout.readline())
os.waitid(os.P_PID, leader.pid, os.WEXITED | os.WNOWAIT)
started = time.monotonic()
end_group(leader.pid, 10.0, leader.poll)
print(time.monotonic() - started)
try:
    os.kill(orphan, 0)
except ProcessLookupError:
    print("collected")
"""

Start = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Run Python code in a group of its own until it has said that it is ready."""
    started: list[subprocess.Popen[str]] = []

    def run(code: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", f"import os, signal, subprocess, time\n{code}"],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield run
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def runs(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def listening(note: Path) -> str:
    """Return code that leaves a note when it is asked to end, and ends with code 3."""
    return f"""
def end(*_):
    open({str(note)!r}, "w").close()
    os._exit(3)

signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
time.sleep(60)
"""


def test_group_is_asked_to_end_and_may_tidy_up(start: Start, tmp_path: Path) -> None:
    process = start(listening(tmp_path / "note"))
    end_group(process.pid, PATIENCE_S, process.poll)
    assert ((tmp_path / "note").exists(), process.wait(5)) == (True, 3)


def test_group_that_does_not_listen_is_killed_after_the_patience(start: Start) -> None:
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True)"
    process = start(f"{deaf}; time.sleep(60)")
    started = time.monotonic()
    end_group(process.pid, 0.2, process.poll)
    assert 0.2 <= time.monotonic() - started < PATIENCE_S
    assert process.wait(5) == -signal.SIGKILL


def test_without_patience_nobody_is_asked(start: Start, tmp_path: Path) -> None:
    process = start(listening(tmp_path / "note"))
    end_group(process.pid, 0, process.poll)
    assert ((tmp_path / "note").exists(), process.wait(5)) == (False, -signal.SIGKILL)


def test_what_the_leader_started_ends_with_it(start: Start) -> None:
    sleeps = "sleeps = [subprocess.Popen(['sleep', '60']) for _ in range(2)]"
    process = start(f"{sleeps}; print('ready', flush=True); time.sleep(60)")
    members = psutil.Process(process.pid).children()
    assert len(members) == 2
    end_group(process.pid, PATIENCE_S, process.poll)
    assert not any(runs(member) for member in members)


def test_group_that_is_gone_needs_no_end(start: Start) -> None:
    process = start("print('ready')")
    process.wait(5)
    started = time.monotonic()
    end_group(process.pid, PATIENCE_S, process.poll)
    assert time.monotonic() - started < PATIENCE_S / 2


def test_orphans_that_have_ended_are_collected_and_not_waited_for() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FIRST_PROCESS], capture_output=True, text=True, check=True
    )
    took_s, orphan = done.stdout.split()
    assert float(took_s) < PATIENCE_S / 2
    assert orphan == "collected"


def test_end_does_not_wait_for_a_parent_that_never_reaps() -> None:
    code = (
        "import subprocess, sys; "
        "print(subprocess.Popen(['sleep', '60'], start_new_session=True).pid, flush=True); "
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        started = time.monotonic()
        end_group(pid, PATIENCE_S, lambda: None)
        assert time.monotonic() - started < PATIENCE_S / 2
        assert psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        parent.communicate()


def test_groups_are_found_by_a_mark_in_their_environment() -> None:
    mark = uuid.uuid4().hex
    started = [
        subprocess.Popen(
            ["sleep", "60"], env={"MARLOFT_TEST_MARK": value}, start_new_session=own_group
        )
        for value, own_group in ((mark, True), (mark, True), ("another", True), (mark, False))
    ]
    try:
        # Ours is not among them: who looks for what is left over must not end itself.
        assert marked_groups("MARLOFT_TEST_MARK", mark) == {each.pid for each in started[:2]}
        assert marked_groups("MARLOFT_TEST_MARK", mark + "0") == set()
    finally:
        for each in started:
            each.kill()
            each.wait()
