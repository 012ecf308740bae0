"""A supervised process: a group of its own, its console in a file, found again after a crash."""

import hashlib
import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Self

import httpx2
import msgspec
import psutil
from msgspec import Struct

from marloft.deploy.processes.consoles import bound_console
from marloft.deploy.processes.group import end_group, marked_groups
from marloft.deploy.processes.record import ProcessRecord, RecordFile, record_of
from marloft.errors import ServingError
from marloft.files import private_folder

_POLL_S = 0.05
_TAIL_BYTES = 1 << 16
# In the environment of a process and of all that it starts: the file of its record.
MARK_ENV = "MARLOFT_PROCESS"


class Launch(Struct, frozen=True, kw_only=True):
    """How a process is started; `identity` is what makes a running one the same as a new one.

    `once` follows `command` at this start alone, and is no part of what the process is.
    """

    command: list[str]
    env: dict[str, str]
    cwd: Path
    identity: dict[str, str] = {}
    once: list[str] = []

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the command and the identity."""
        return hashlib.sha256(msgspec.json.encode([self.command, self.identity])).hexdigest()


class ManagedProcess:
    """One process; a subclass says how it starts and when it is ready."""

    name: str
    stop_patience_s: float
    start_s: float = 60.0
    adopt_s: float = 5.0
    # How long it may leave questions unanswered: busy cores cost seconds, not more.
    answer_s: float = 15.0

    def __init__(self, console: Path, record: Path | None = None) -> None:
        """Remember where the process's output goes, and the file that it is found again by."""
        self.console = console
        self._record = RecordFile(record)
        self._known: ProcessRecord | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._adopted: psutil.Process | None = None

    def prepare(self) -> Launch:
        """Write what the process reads and return how it is started."""
        raise NotImplementedError

    def probe(self, timeout_s: float = 1.0) -> bool:
        """Whether the process answers within `timeout_s` that it is ready."""
        raise NotImplementedError

    @property
    def folder(self) -> Path | None:
        """A folder that lives as long as the process."""
        return None

    def take_folder(self, folder: Path) -> None:
        """Take over the folder of an adopted process."""

    def spawn(self) -> None:
        """Start the process without waiting for it."""
        launch = self.prepare()
        command = launch.command + launch.once
        self.launch(command, launch.env, launch.cwd, launch.fingerprint)

    def start(self) -> None:
        """Start the process and return when it is ready."""
        self.spawn()
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Return when the process is ready; raise ServingError when it ends or takes too long."""
        deadline = time.monotonic() + self.start_s
        while time.monotonic() < deadline:
            self.check_alive()
            if self.probe():
                return
            time.sleep(2 * _POLL_S)
        raise ServingError(f"{self.name} was not ready in {self.start_s:g} s. See {self.console}.")

    def adopt(self) -> bool:
        """Take over a process that an earlier supervisor left behind, if it is the same.

        One that was started otherwise is ended, and so is what a dead one has left.
        """
        record = self._record.read()
        if record is not None:
            if self._take_over(record):
                return True
            self._end_recorded(record)
        self._end_marked()
        return False

    def end_earlier(self) -> None:
        """End what an earlier supervisor left behind."""
        record = self._record.read()
        if record is not None:
            self._end_recorded(record)
        self._end_marked()

    def __enter__(self) -> Self:
        """Start the process; when that fails, leave nothing running."""
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the process, whether it was started or adopted."""
        self.stop()

    def launch(
        self, command: Sequence[str], env: Mapping[str, str], cwd: Path, fingerprint: str = ""
    ) -> None:
        """Run `command` in a new session, so that all that it starts ends with it."""
        mark = {} if self._record.path is None else {MARK_ENV: str(self._record.path)}
        with self._open_console() as console:
            self._child = subprocess.Popen(
                command,
                cwd=cwd,
                env={**env, **mark},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._known = record_of(self._child.pid, fingerprint, self.folder)
        # It runs, recorded or not; `keep_record` tries again.
        with suppress(OSError):
            self.keep_record()

    def keep_record(self) -> None:
        """Write the record unless the file says so already; raises OSError when it cannot be."""
        if self._known is not None:
            self._record.keep(self._known)

    def bound_console(self) -> None:
        """Empty the console's file when it is too long; raises OSError when it cannot be."""
        bound_console(self.console)

    @property
    def pid(self) -> int | None:
        """The process's id and its group's, None when there is none."""
        if self._child is not None:
            return self._child.pid
        return None if self._adopted is None else self._adopted.pid

    def is_alive(self) -> bool:
        """Whether the process runs."""
        if self._child is not None:
            return self._child.poll() is None
        if self._adopted is None:
            return False
        try:
            ended = self._adopted.status() == psutil.STATUS_ZOMBIE
            return bool(self._adopted.is_running()) and not ended
        except psutil.NoSuchProcess:
            return False

    def last_words(self) -> str:
        """Return how the process ended and the end of its console."""
        words = f"{last_line(self.console)!r}. See {self.console}."
        if self._child is None:
            return f"{self.name} ended; last words: {words}"
        return f"{self.name} ended with code {self._child.returncode}; last words: {words}"

    def check_alive(self) -> None:
        """Raise ServingError with the end of the console when the process has ended."""
        if self.pid is not None and not self.is_alive():
            raise ServingError(self.last_words())

    def check_not_stopped(self) -> None:
        """Raise ServingError when something has stopped the process: it may go unseen for long."""
        with suppress(psutil.NoSuchProcess):
            if self.pid is not None and psutil.Process(self.pid).status() == psutil.STATUS_STOPPED:
                raise ServingError(
                    f"process {self.pid} is stopped (SIGSTOP, Ctrl-Z or a debugger); "
                    f"`kill -CONT {self.pid}` lets it go on."
                )

    def stop(self, patience_s: float | None = None) -> None:
        """Ask the process's group to end, insist when it does not, and leave nothing of it.

        `patience_s` is the time between the two, by default the process's own; 0 insists at once.
        """
        if self.pid is None:
            return
        child = self._child
        reap: Callable[[], object] = child.poll if child is not None else (lambda: None)
        end_group(self.pid, self.stop_patience_s if patience_s is None else patience_s, reap)
        if child is not None:
            child.wait()
        self._child = self._adopted = None
        self._forget()

    def _take_over(self, record: ProcessRecord) -> bool:
        process = record.process()
        if process is None or record.fingerprint != self.prepare().fingerprint:
            return False
        self._adopted, self._known = process, record
        if record.folder is not None:
            self.take_folder(Path(record.folder))
        if self._is_ready_soon():
            return True
        self._adopted = self._known = None
        return False

    def _end_recorded(self, record: ProcessRecord) -> None:
        """End what a record names, unless its pid is another program's by now.

        A pid is given out again when its group is gone.
        """
        if record.process() is not None or not psutil.pid_exists(record.pid):
            end_group(record.pid, self.stop_patience_s, lambda: None)
            if record.folder is not None:
                shutil.rmtree(record.folder, ignore_errors=True)
        self._forget()

    def _end_marked(self) -> None:
        """End what a supervisor left that was killed between a start and its record."""
        if self._record.path is not None:
            for group in marked_groups(MARK_ENV, str(self._record.path)):
                end_group(group, self.stop_patience_s, lambda: None)

    def _is_ready_soon(self) -> bool:
        """Whether an adopted process answers; one that is busy may need a moment."""
        deadline = time.monotonic() + self.adopt_s
        while not (ready := self.probe()) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        return ready

    def _open_console(self) -> BinaryIO:
        """Open the console's file; where there can be none, serving does without."""
        try:
            private_folder(self.console.parent)
            return self.console.open("ab")
        except OSError:
            return Path(os.devnull).open("ab")

    def _forget(self) -> None:
        self._known = None
        self._record.forget()


def answers(url: str, ready: Callable[[httpx2.Response], bool], timeout_s: float) -> bool:
    """Whether `url`, one of this machine, answers within `timeout_s` as `ready` wants."""
    # Asked many times while a process starts; reading the certificates of the world takes 50 ms.
    nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        return ready(httpx2.get(url, timeout=timeout_s, verify=nobody, trust_env=False))
    except httpx2.HTTPError:
        return False


def last_line(path: Path) -> str:
    """Return the last non-empty line of a text file's end, or an empty string."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = stream.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
