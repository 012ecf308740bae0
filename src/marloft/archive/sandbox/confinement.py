"""Runs a program with as little as the kernel lets it have, and says how little that was."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

_LOG_BYTES = 64 << 10
# How much longer than its own limit the launcher may take before it is killed itself.
_GRACE_S = 20.0


class Limits(Struct, frozen=True, kw_only=True):
    """What one run may use; `memory_bytes` is of address space (RLIMIT_AS), None sets no limit.

    `wall_s` and `cpu_s` are seconds, `file_bytes` is per file. `processes` counts threads too and
    does not bind root (setrlimit(2)).
    """

    wall_s: float = 120.0
    cpu_s: int = 300
    memory_bytes: int | None = 16 << 30
    file_bytes: int = 1 << 30
    open_files: int = 1024
    processes: int = 4096


class Isolation(Struct, frozen=True, kw_only=True):
    """What confined a program; False where the kernel did not grant it.

    Attributes:
        environment: none of the caller's variables, a home and a temporary folder of its own.
        limits: the resource limits of `Limits`.
        user: a user namespace, all capabilities dropped.
        network: a network namespace of its own: no network, not even loopback.
        mounts: a mount namespace, read-only outside of one folder.
        processes: a process namespace: it sees, signals and leaves behind none but its own.
        why: the kernel's reason where a namespace is missing.
    """

    environment: bool
    limits: bool
    user: bool
    network: bool
    mounts: bool
    processes: bool
    why: str | None = None

    @property
    def complete(self) -> bool:
        """Whether all of it held."""
        held = (self.environment, self.limits, self.user, self.network, self.mounts)
        return all(held) and self.processes


class ConfinedRun(Struct, frozen=True, kw_only=True):
    """How the run of a confined program ended.

    `status` is the exit status, `-n` after signal n; None when it had to be ended. `left_running`
    says that processes it had started were still there when it ended. `log` is the end of what it
    wrote.
    """

    status: int | None
    timed_out: bool
    left_running: bool
    isolation: Isolation
    log: str


class _Report(Struct, frozen=True, kw_only=True):
    status: int | None
    timed_out: bool
    left_running: bool
    isolation: Isolation


def run(command: Sequence[str], folder: Path, scratch: Path, limits: Limits) -> ConfinedRun:
    """Run `command` in `folder`; it can write below `scratch` only, where the kernel grants that.

    The namespaces are user, network, mount, process and IPC namespaces (namespaces(7)). Where they
    are missing this is no sandbox: the program then has the caller's rights. With them it can still
    read what the caller can read, and connect to sockets that lie in the file system.

    Args:
        command: the program and its arguments.
        folder: its working directory, below `scratch`.
        scratch: an existing folder; `home`, `tmpdir` and `marloft_var` are made in it.
        limits: what it may use.
    """
    launcher = Path(__file__).with_name("launcher.py")
    reader, writer = os.pipe()
    with tempfile.TemporaryFile() as log, os.fdopen(reader, "rb") as reports:
        arguments = json.dumps(
            {
                "report": writer,
                "folder": str(folder),
                "writable": str(scratch),
                "limits": msgspec.to_builtins(limits),
                "command": list(command),
            }
        )
        try:
            process = subprocess.Popen(
                [sys.executable, "-I", "-B", str(launcher), arguments],
                cwd=folder,
                env=_environment(scratch),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(writer,),
                start_new_session=True,
            )
        finally:
            os.close(writer)
        ended = _wait(process, limits.wall_s + _GRACE_S)
        report = _read_report(reports.read() if ended else b"")
        size = log.seek(0, os.SEEK_END)
        log.seek(max(0, size - _LOG_BYTES))
        text = log.read().decode(errors="replace")
    return ConfinedRun(
        status=report.status,
        timed_out=report.timed_out,
        left_running=report.left_running,
        isolation=report.isolation,
        log=text,
    )


def _environment(scratch: Path) -> Mapping[str, str]:
    folders = {name: scratch / name.lower() for name in ("HOME", "TMPDIR", "MARLOFT_VAR")}
    for folder in folders.values():
        folder.mkdir()
    return {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        **{name: str(folder) for name, folder in folders.items()},
    }


def _wait(process: "subprocess.Popen[bytes]", timeout_s: float) -> bool:
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    return True


def _read_report(data: bytes) -> _Report:
    """Return what the launcher wrote; one that its own program killed wrote nothing."""
    if data:
        return msgspec.json.decode(data, type=_Report)
    nothing = Isolation(
        environment=True,
        limits=True,
        user=False,
        network=False,
        mounts=False,
        processes=False,
        why="the launching process was ended before it could report",
    )
    return _Report(status=None, timed_out=False, left_running=True, isolation=nothing)
