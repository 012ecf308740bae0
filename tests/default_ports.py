"""Lets one test at a time use the ports that the documentation names."""

import fcntl
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DEFAULT_PORTS = (8080, 8081, 8082, 7070, 7071)
_WAIT_S = 60


@contextmanager
def default_ports(*more: int) -> Iterator[None]:
    """Hold the default ports of TorchServe and `more`; other test processes here wait.

    Raises:
        RuntimeError: a port is still in use after a minute.
    """
    with (Path(tempfile.gettempdir()) / "marloft-default-ports.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _wait_until_free((*DEFAULT_PORTS, *more))
        yield


def _wait_until_free(ports: tuple[int, ...]) -> None:
    deadline = time.monotonic() + _WAIT_S
    while busy := [port for port in ports if in_use(port)]:
        if time.monotonic() > deadline:
            raise RuntimeError(f"port {busy[0]} is in use; stop what listens there, then test.")
        time.sleep(0.5)


def in_use(port: int) -> bool:
    """Whether something on this machine answers at the port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
