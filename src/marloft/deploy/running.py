"""Whether a `marloft serve` runs on a state folder, and what it reported last."""

import fcntl
from pathlib import Path

from marloft.contract.live import Live, live_path
from marloft.files import read_json


def is_running(var: Path) -> bool:
    """Whether a process holds `var/lock`: a `marloft serve`, since nothing else takes it.

    The kernel frees the lock when its holder ends, however it ends. This look shares the lock for
    an instant, so that a `serve` that starts within it may be refused.
    """
    try:
        with (var / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def read_live(var: Path) -> Live | None:
    """Return the last report below `var`, None when there was none; it may be of an earlier run.

    Raises:
        ConfigError: the file is damaged.
    """
    path = live_path(var)
    return read_json(path, Live) if path.exists() else None
