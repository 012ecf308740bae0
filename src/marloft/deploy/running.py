"""Whether a `marloft serve` runs on a state folder, and what it says of itself."""

import fcntl
import os
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOBase
from pathlib import Path

import httpx2

from marloft.contract.live import Live, live_path
from marloft.deploy.ports import LOOPBACK
from marloft.errors import ConfigError, ServingError
from marloft.files import PRIVATE, parse_json, private_folder, read_json

# Where `marloft serve` answers, on the supervisor's port.
LIVE_HOST, LIVE_PATH = LOOPBACK, "/live"
# `is_running` shares the lock for microseconds; who holds it longer is a `marloft serve`.
_PATIENCE_S, _POLL_S = 0.25, 0.01
_ANSWER_S = 2.0


@contextmanager
def exclusive(var: Path, port: int | None = None) -> Iterator[None]:
    """Hold `var/lock`; the kernel frees it when the process ends, however it ends.

    The file says at which port this process answers, for who finds it locked.

    Raises:
        ServingError: another process holds it.
    """
    private_folder(var)
    deadline = time.monotonic() + _PATIENCE_S
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    with os.fdopen(os.open(_lock_file(var), flags, PRIVATE), "r+") as lock:
        while not _locked(lock, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise ServingError(
                    f"another `marloft serve` runs on {var}; stop it, or choose another --var."
                )
            time.sleep(_POLL_S)
        lock.truncate(0)
        lock.write("" if port is None else f"{port}\n")
        lock.flush()
        yield


def check_lock(var: Path, port: int) -> None:
    """Make sure that others find the lock that this process holds, and its port in it.

    Raises:
        ServingError: the file was removed or replaced, so that a second `marloft serve` could
            start.
        OSError: its text was changed and cannot be written.
    """
    if not is_running(var):
        raise ServingError(
            f"{_lock_file(var)} is not what this `marloft serve` has locked: somebody removed or "
            "replaced it, and a second one could start; start this one again."
        )
    if _port(var) != port:
        _lock_file(var).write_text(f"{port}\n")


def is_running(var: Path) -> bool:
    """Whether a process holds `var/lock`: a `marloft serve`, since nothing else takes it.

    The kernel frees the lock when its holder ends, however it ends.
    """
    try:
        with _lock_file(var).open() as lock:
            return not _locked(lock, fcntl.LOCK_SH)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return False


def read_live(var: Path) -> Live | None:
    """Return what the `marloft serve` on `var` says of itself; None when it said nothing yet.

    It is asked at the port that the lock names; `live.json` is read only where one of an earlier
    commit runs, which has none.

    Raises:
        ServingError: it does not answer.
        ConfigError: the file is damaged.
    """
    port = _port(var)
    if port is not None:
        live = ask_live(port)
        return live if live.release else None
    path = live_path(var)
    return read_json(path, Live) if path.exists() else None


def ask_live(port: int, *, answer_s: float = _ANSWER_S) -> Live:
    """Ask the `marloft serve` at this port what it says of itself.

    Raises:
        ServingError: nobody answers there, or with something else.
    """
    # Reading the certificates of the world takes 50 ms.
    nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    url = f"http://{LIVE_HOST}:{port}{LIVE_PATH}"
    try:
        response = httpx2.get(url, timeout=answer_s, verify=nobody, trust_env=False)
        response.raise_for_status()
    except httpx2.HTTPError as error:
        raise ServingError(f"`marloft serve` does not answer at port {port}: {error}.") from error
    try:
        return parse_json(response.content, Live, url)
    except ConfigError as error:
        raise ServingError(f"what answers at port {port} is no `marloft serve`: {error}") from None


def _lock_file(var: Path) -> Path:
    return var / "lock"


def _port(var: Path) -> int | None:
    """Return the port that the lock's holder wrote down."""
    try:
        return int(_lock_file(var).read_text())
    except (OSError, ValueError):
        return None


def _locked(lock: TextIOBase, kind: int) -> bool:
    """Take the lock if it is free, until the file is closed; return whether it was."""
    try:
        fcntl.flock(lock.fileno(), kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
