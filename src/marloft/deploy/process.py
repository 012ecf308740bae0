"""A supervised child process: its own group, its console in a file, no orphan left behind."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from marloft.errors import ServingError

_KILL_S = 5.0


class ManagedProcess:
    """One child process; a subclass says how it starts and how it stops being needed."""

    name: str
    stop_patience_s: float

    def __init__(self, console: Path) -> None:
        """Remember where the child's output goes."""
        self.console = console
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the child and return when it is ready."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        """Start the child; when that fails, leave nothing running."""
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the child."""
        self.stop()

    def launch(self, command: Sequence[str], env: Mapping[str, str], cwd: Path) -> None:
        """Run `command` in a new session, so that its whole family can be ended together."""
        self.console.parent.mkdir(parents=True, exist_ok=True)
        with self.console.open("ab") as console:
            self._process = subprocess.Popen(
                command,
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def check_alive(self) -> None:
        """Raise ServingError with the end of the console when the child has ended."""
        if self._process is None or self._process.poll() is None:
            return
        raise ServingError(
            f"{self.name} ended with code {self._process.returncode}; last words: "
            f"{last_line(self.console)!r}. See {self.console}."
        )

    def wait_for(self, url: str, ready: Callable[[httpx.Response], bool], limit_s: float) -> None:
        """Return when `url` answers as `ready` wants; raise ServingError after `limit_s`."""
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            self.check_alive()
            try:
                if ready(httpx.get(url, timeout=1)):
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
        raise ServingError(f"{self.name} was not ready in {limit_s:g} s. See {self.console}.")

    def stop(self) -> None:
        """Ask the child's group to end, insist when it does not, and leave nothing of it."""
        if self._process is None:
            return
        for number, patience_s in (
            (signal.SIGTERM, self.stop_patience_s),
            (signal.SIGKILL, _KILL_S),
        ):
            if not _signal_group(self._process, number):
                break
            deadline = time.monotonic() + patience_s
            while time.monotonic() < deadline and _signal_group(self._process, 0):
                time.sleep(0.05)
        self._process.wait()
        self._process = None


def _signal_group(process: subprocess.Popen[bytes], number: int) -> bool:
    process.poll()
    _reap_adopted(process.pid)
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return False
    return True


def _reap_adopted(group: int) -> None:
    """Collect ended members of the group that this process has adopted.

    As the first process of a container it inherits the orphans of its children, and an ended
    process that nobody collects counts as a member of its group for ever.
    """
    try:
        while os.waitpid(-group, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        return


def last_line(path: Path) -> str:
    """Return the last non-empty line of a text file, or an empty string."""
    lines = path.read_text(errors="replace").split("\n") if path.is_file() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
