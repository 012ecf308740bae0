"""Ends a process group: a process with all that it has started."""

import os
import signal
import time
from collections.abc import Callable

import psutil

_KILL_S = 5.0
_POLL_S = 0.05


def end_group(group: int, patience_s: float, reap: Callable[[], object]) -> None:
    """Ask a process group to end, insist when it does not, and return when none of it runs.

    Args:
        group: the group's id.
        patience_s: seconds between the two; 0 insists at once.
        reap: collects the group's first process if it is a child of this one.
    """
    for number, wait_s in ((signal.SIGTERM, patience_s), (signal.SIGKILL, _KILL_S)):
        if number == signal.SIGTERM and patience_s == 0:
            continue
        if not _signal_group(group, number, reap):
            break
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline and _signal_group(group, 0, reap) and _lives(group):
            time.sleep(_POLL_S)


def marked_groups(name: str, value: str) -> set[int]:
    """Return the groups of processes, ours to look into, that were started with `name=value`."""
    groups: set[int] = set()
    for process in psutil.process_iter():
        try:
            if process.environ().get(name) == value:
                groups.add(os.getpgid(process.pid))
        except (ProcessLookupError, psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return groups - {os.getpgrp()}


def _lives(group: int) -> bool:
    """Whether a member of the group runs; one that has ended holds nothing, reaped or not.

    Orphans are the first process's to reap, and some take seconds, or never do.
    """
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                return True
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return False


def _signal_group(group: int, number: int, reap: Callable[[], object]) -> bool:
    reap()
    _reap_adopted(group)
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def _reap_adopted(group: int) -> None:
    """Collect ended members of the group that this process has adopted.

    As the first process of a container it inherits the orphans of its children, and an ended
    process that nobody collects counts as a member of its group forever.
    """
    try:
        while os.waitpid(-group, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        return
