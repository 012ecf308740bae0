"""A supervised process: a group of its own, its console in a file, found again after a crash."""

import hashlib
import shutil
import ssl
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx2
import msgspec
import psutil
from msgspec import Struct

from marloft.deploy.processes.group import end_group, marked_groups
from marloft.errors import ConfigError, ServingError
from marloft.files import read_json, write_json

_POLL_S = 0.05
# In the environment of a process and of all that it starts: the file of its record.
MARK_ENV = "MARLOFT_PROCESS"


class Launch(Struct, frozen=True, kw_only=True):
    """How a process is started; `identity` is what makes a running one the same as a new one."""

    command: list[str]
    env: dict[str, str]
    cwd: Path
    identity: dict[str, str] = {}

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the command and the identity."""
        return hashlib.sha256(msgspec.json.encode([self.command, self.identity])).hexdigest()


class ProcessRecord(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the next supervisor needs to find a process: a pid alone could be another's by then.

    `created` is its start in seconds since the epoch, as the kernel tells; `folder` holds what it
    unpacked.
    """

    pid: int
    created: float
    fingerprint: str
    folder: str | None = None


class ManagedProcess:
    """One process; a subclass says how it starts and when it is ready."""

    name: str
    stop_patience_s: float
    start_s: float = 60.0
    adopt_s: float = 5.0

    def __init__(self, console: Path, record: Path | None = None) -> None:
        """Remember where the process's output goes, and the file that it is found again by."""
        self.console = console
        self._record = record
        self._child: subprocess.Popen[bytes] | None = None
        self._adopted: psutil.Process | None = None

    def prepare(self) -> Launch:
        """Write what the process reads and return how it is started."""
        raise NotImplementedError

    def probe(self) -> bool:
        """Whether the process is ready."""
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
        self.launch(launch.command, launch.env, launch.cwd, launch.fingerprint)

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
        record = self._recorded()
        if record is not None and self._take_over(record):
            return True
        if self._record is not None:
            # Of a supervisor that was killed between a start and its record.
            for group in marked_groups(MARK_ENV, str(self._record)):
                end_group(group, self.stop_patience_s, lambda: None)
        return False

    def __enter__(self) -> Self:
        """Start the process; when that fails, leave nothing running."""
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
        """Stop the process, whether it was started or adopted."""
        self.stop()

    def launch(
        self, command: Sequence[str], env: Mapping[str, str], cwd: Path, fingerprint: str = ""
    ) -> None:
        """Run `command` in a new session, so that all that it starts ends with it."""
        self.console.parent.mkdir(parents=True, exist_ok=True)
        mark = {} if self._record is None else {MARK_ENV: str(self._record)}
        with self.console.open("ab") as console:
            self._child = subprocess.Popen(
                command,
                cwd=cwd,
                env={**env, **mark},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if self._record is not None:
            self._write_record(self._child.pid, fingerprint)

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
        process = _running(record)
        if process is not None and record.fingerprint == self.prepare().fingerprint:
            self._adopted = process
            if record.folder is not None:
                self.take_folder(Path(record.folder))
            if self._is_ready_soon():
                return True
            self._adopted = None
        elif process is None and psutil.pid_exists(record.pid):
            # Another program's by now: a pid is given out again when its group is gone.
            self._forget()
            return False
        end_group(record.pid, self.stop_patience_s, lambda: None)
        if record.folder is not None:
            shutil.rmtree(record.folder, ignore_errors=True)
        self._forget()
        return False

    def _is_ready_soon(self) -> bool:
        """Whether an adopted process answers; one that is busy may need a moment."""
        deadline = time.monotonic() + self.adopt_s
        while not (ready := self.probe()) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        return ready

    def _write_record(self, pid: int, fingerprint: str) -> None:
        assert self._record is not None
        try:
            created = psutil.Process(pid).create_time()
        except psutil.NoSuchProcess:
            return
        folder = None if self.folder is None else str(self.folder)
        record = ProcessRecord(pid=pid, created=created, fingerprint=fingerprint, folder=folder)
        write_json(self._record, record)

    def _recorded(self) -> ProcessRecord | None:
        if self._record is None or not self._record.is_file():
            return None
        try:
            return read_json(self._record, ProcessRecord)
        except ConfigError:
            # Torn by a crash: what it named cannot be told from another program.
            self._forget()
            return None

    def _forget(self) -> None:
        if self._record is not None:
            self._record.unlink(missing_ok=True)


def answers(url: str, ready: Callable[[httpx2.Response], bool]) -> bool:
    """Whether `url`, one of this machine, answers within a second as `ready` wants."""
    # Asked many times while a process starts; reading the certificates of the world takes 50 ms.
    nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        return ready(httpx2.get(url, timeout=1, verify=nobody, trust_env=False))
    except httpx2.HTTPError:
        return False


def last_line(path: Path) -> str:
    """Return the last non-empty line of a text file, or an empty string."""
    lines = path.read_text(errors="replace").split("\n") if path.is_file() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _running(record: ProcessRecord) -> psutil.Process | None:
    try:
        process = psutil.Process(record.pid)
        same = process.create_time() == record.created
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None
