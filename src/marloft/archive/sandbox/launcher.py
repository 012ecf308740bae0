"""Runs as a program of its own: gives up its rights, runs another program, ends all it started.

`python -I -B launcher.py ARGUMENTS`, a JSON object as `confinement.run` writes it. It imports the
standard library only, so that nothing of it can fail to load once the rights are gone.
System calls: unshare(2), user_namespaces(7), mount_setattr(2), capabilities(7), prctl(2).
"""

import ctypes
import json
import os
import resource
import signal
import struct
import sys
import time
from pathlib import Path
from typing import Any

_NEW = {
    "user": 0x10000000,
    "network": 0x40000000,
    "mounts": 0x00020000,
    "processes": 0x20000000,
    "ipc": 0x08000000,
}
# With all of it; as root where user namespaces are forbidden; without the mounts; without any.
_NAMESPACES = (
    ("user", "network", "mounts", "processes", "ipc"),
    ("network", "mounts", "processes", "ipc"),
    ("user", "network", "processes", "ipc"),
)
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_MS_NOSUID_NODEV_NOEXEC = 0x2 | 0x4 | 0x8
_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE, _RDONLY = 442, -100, 0x8000, 0x1
_PDEATHSIG, _CAPBSET_DROP, _SUBREAPER, _NO_NEW_PRIVS = 1, 24, 36, 38
_EXIT_GRACE_S = 0.5
_libc = ctypes.CDLL(None, use_errno=True)


def main(arguments: dict[str, Any]) -> None:
    """Isolate this process, run the command, and write a report to the file descriptor given."""
    uid, gid = os.getuid(), os.getgid()
    _prctl(_PDEATHSIG, signal.SIGKILL)
    held, why = _unshare()
    if "user" in held:
        _map_ids(uid, gid)
    if "processes" in held:
        # The namespace begins with the first child, which becomes its init.
        child = os.fork()
        if child:
            os.close(arguments["report"])
            _, status = os.waitpid(child, 0)
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
        _prctl(_PDEATHSIG, signal.SIGKILL)
    if "mounts" in held:
        held, why = _protect_mounts(arguments["writable"], held, why)
    exit_status, timed_out, left_running = _run_to_the_end(arguments)
    isolation = {name: name in held for name in ("user", "network", "mounts", "processes")}
    report = {
        "status": exit_status,
        "timed_out": timed_out,
        "left_running": left_running,
        "isolation": {**isolation, "environment": True, "limits": True, "why": why},
    }
    os.write(arguments["report"], json.dumps(report).encode())


def _unshare() -> tuple[tuple[str, ...], str | None]:
    """Enter as many namespaces as the kernel grants; return them and what the first try said."""
    why = None
    for names in _NAMESPACES:
        try:
            _call(_libc.unshare, sum(_NEW[name] for name in names))
        except OSError as error:
            why = why or f"unshare: {error.strerror}"
        else:
            return names, why
    return (), why


def _map_ids(uid: int, gid: int) -> None:
    """Keep the ids as they are: files that the caller owns stay the program's to read."""
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def _protect_mounts(
    writable: str, held: tuple[str, ...], why: str | None
) -> tuple[tuple[str, ...], str | None]:
    """Make every mount read-only but the one of `writable`; return what is held, and why not."""
    try:
        _mount("none", "/", None, _MS_REC | _MS_PRIVATE)
        _mount(writable, writable, None, _MS_BIND)
        if "processes" in held:
            _mount("proc", "/proc", "proc", _MS_NOSUID_NODEV_NOEXEC)
        _set_mount("/", _AT_RECURSIVE, add=_RDONLY)
        _set_mount(writable, 0, clear=_RDONLY)
    except OSError as error:
        kept = tuple(name for name in held if name != "mounts")
        return kept, why or f"mount: {error.strerror}"
    return held, why


def _run_to_the_end(arguments: dict[str, Any]) -> tuple[int | None, bool, bool]:
    """Run the command; return its status, whether it ran out of time, and left processes behind."""
    _prctl(_SUBREAPER, 1)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    end = time.monotonic() + arguments["limits"]["wall_s"]
    program = os.fork()
    if program == 0:
        _execute(arguments)
    status = _wait_for(program, end)
    left_running = False
    if status is not None:
        # What ends right after its parent, as a resource tracker does, is not left behind.
        left_running = not _all_ended(time.monotonic() + _EXIT_GRACE_S)
    while not _all_ended(time.monotonic()):
        _kill_children()
        signal.sigtimedwait({signal.SIGCHLD}, 0.05)
    return status, status is None, left_running


def _execute(arguments: dict[str, Any]) -> None:
    """In the child: set the limits, drop every capability, become the command."""
    try:
        os.close(arguments["report"])
        os.setsid()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        _prctl(_PDEATHSIG, signal.SIGKILL)
        _drop_capabilities()
        _limit(arguments["limits"])
        os.chdir(arguments["folder"])
        os.execv(arguments["command"][0], arguments["command"])  # noqa: S606
    except (OSError, ValueError) as error:
        os.write(2, f"the sandbox cannot start {arguments['command'][0]}: {error}\n".encode())
    finally:
        os._exit(126)


def _limit(limits: dict[str, Any]) -> None:
    wanted = {
        resource.RLIMIT_CPU: limits["cpu_s"],
        resource.RLIMIT_AS: limits["memory_bytes"],
        resource.RLIMIT_FSIZE: limits["file_bytes"],
        resource.RLIMIT_NOFILE: limits["open_files"],
        resource.RLIMIT_NPROC: limits["processes"],
        resource.RLIMIT_CORE: 0,
    }
    for kind, value in wanted.items():
        _, hard = resource.getrlimit(kind)
        if value is not None:
            most = value if hard == resource.RLIM_INFINITY else min(value, hard)
            # A second between the two: SIGXCPU says what it was, SIGKILL would not.
            spare = 1 if kind == resource.RLIMIT_CPU and most == value else 0
            resource.setrlimit(kind, (most, most + spare))


def _drop_capabilities() -> None:
    """Empty the bounding set: what is run next has no capability, whatever its user id."""
    _prctl(_NO_NEW_PRIVS, 1)
    for capability in range(64):
        try:
            _prctl(_CAPBSET_DROP, capability)
        except OSError:
            # EINVAL behind the last one; EPERM for a user who has none to drop.
            return


def _wait_for(program: int, end: float) -> int | None:
    """Wait for the program, reaping its orphans on the way; None at the time `end`."""
    while True:
        while (pid := _reap()) is not None:
            if pid[0] == program:
                return os.waitstatus_to_exitcode(pid[1])
        rest = end - time.monotonic()
        if rest <= 0:
            return None
        signal.sigtimedwait({signal.SIGCHLD}, min(rest, 0.25))


def _all_ended(end: float) -> bool:
    """Whether no child is left, now or by the time `end`."""
    while True:
        try:
            while _reap() is not None:
                pass
        except ChildProcessError:
            return True
        rest = end - time.monotonic()
        if rest <= 0:
            return False
        signal.sigtimedwait({signal.SIGCHLD}, min(rest, 0.05))


def _reap() -> tuple[int, int] | None:
    pid, status = os.waitpid(-1, os.WNOHANG)
    return (pid, status) if pid else None


def _kill_children() -> None:
    """Kill what runs below this process; orphans come to it, so that killing goes on until none."""
    me = os.getpid()
    if me == 1:
        os.kill(-1, signal.SIGKILL)
        return
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _parent(entry) == me:
            os.kill(int(entry.name), signal.SIGKILL)


def _parent(entry: Path) -> int | None:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def _mount(source: str, target: str, kind: str | None, flags: int) -> None:
    encoded = (source.encode(), target.encode(), kind and kind.encode())
    _call(_libc.mount, *encoded, ctypes.c_ulong(flags), None)


def _set_mount(path: str, flags: int, add: int = 0, clear: int = 0) -> None:
    # struct mount_attr: attr_set, attr_clr, propagation, userns_fd.
    attributes = struct.pack("=4Q", add, clear, 0, 0)
    _call(
        _libc.syscall,
        ctypes.c_long(_MOUNT_SETATTR),
        ctypes.c_int(_AT_FDCWD),
        path.encode(),
        ctypes.c_uint(flags),
        attributes,
        ctypes.c_size_t(len(attributes)),
    )


def _prctl(option: int, value: int) -> None:
    _call(_libc.prctl, option, *(ctypes.c_ulong(each) for each in (value, 0, 0, 0)))


def _call(function: Any, *arguments: Any) -> None:
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
