"""Whether a `marloft serve` runs on a state folder, and what it reported last."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOBase
from pathlib import Path

from marloft.contract.live import Live, live_path
from marloft.errors import ServingError
from marloft.files import read_json

# `is_running` shares the lock for microseconds; who holds it longer is a `marloft serve`.
_PATIENCE_S, _POLL_S = 0.25, 0.01


@contextmanager
def exclusive(var: Path) -> Iterator[None]:
    """Hold `var/lock`; the kernel frees it when the process ends, however it ends.

    Raises:
        ServingError: another process holds it.
    """
    var.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + _PATIENCE_S
    with _lock_file(var).open("w") as lock:
        while not _locked(lock, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise ServingError(
                    f"another `marloft serve` runs on {var}; stop it, or choose another --var."
                )
            time.sleep(_POLL_S)
        yield


def is_running(var: Path) -> bool:
    """Whether a process holds `var/lock`: a `marloft serve`, since nothing else takes it.

    The kernel frees the lock when its holder ends, however it ends.
    """
    try:
        with _lock_file(var).open() as lock:
            return not _locked(lock, fcntl.LOCK_SH)
    except FileNotFoundError:
        return False


def read_live(var: Path) -> Live | None:
    """Return the last report below `var`, None when there was none; it may be of an earlier run.

    Raises:
        ConfigError: the file is damaged.
    """
    path = live_path(var)
    return read_json(path, Live) if path.exists() else None


def _lock_file(var: Path) -> Path:
    return var / "lock"


def _locked(lock: TextIOBase, kind: int) -> bool:
    """Take the lock if it is free, until the file is closed; return whether it was."""
    try:
        fcntl.flock(lock.fileno(), kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
