"""The prediction and outcome logs, written as the newest release's policy says.

What a log policy means for writing is decided here: when a record has to be on disk, when a segment
is full, and whether an answer may leave without a record. What is left out of a record is for
`redaction`, how long records are kept for `marloft.logs.retain`.
"""

import errno
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import msgspec

from marloft.contract.policy import LogPolicy
from marloft.contract.predict_api import Problem
from marloft.contract.records import (
    OUTCOMES_FOLDER,
    PREDICTIONS_FOLDER,
    OutcomeRecord,
    PredictionRecord,
)
from marloft.contract.release import newest_number, read_release, release_path, releases_folder
from marloft.contract.segments import roll_path
from marloft.errors import MarloftError
from marloft.files import tighten
from marloft.serving.disk import check_room, is_deleted, write_and_forget
from marloft.serving.log_throttle import LogThrottle
from marloft.serving.metrics import LogMetrics
from marloft.serving.redaction import reduced
from marloft.serving.roll_requests import RollRequests
from marloft.serving.segments import close_dead_segments, close_segment, create_segment

VAR_ENV = "MARLOFT_VAR"
LOOK_S = 1.0
_logger = logging.getLogger(__name__)


def var_folder() -> Path:
    """Return where run-time state lies: `$MARLOFT_VAR`, else the user's XDG state folder.

    A worker's working directory is the unpacked archive, so a relative default would be lost.
    https://specifications.freedesktop.org/basedir-spec/latest/
    """
    named = os.environ.get(VAR_ENV)
    if named:
        return Path(named)
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "marloft"
    _logger.warning("%s is not set: logs go to %s.", VAR_ENV, state)
    return state


class FollowedPolicy:
    """The policy of the newest release of a state folder, checked at most once a second.

    Without a release (TorchServe started by hand) the defaults hold. A release that cannot be
    read leaves the one before in force and is logged.
    """

    def __init__(self, var: Path) -> None:
        """Read the newest release there is."""
        self._folder = releases_folder(var)
        self._number = 0
        self._policy = LogPolicy()
        self._next_look_s = 0.0

    def __call__(self) -> LogPolicy:
        """Return the policy in force now."""
        now = time.monotonic()
        if now >= self._next_look_s:
            self._next_look_s = now + LOOK_S
            self._look()
        return self._policy

    def _look(self) -> None:
        # Releases are numbered without gaps, so that one look at the next file is enough.
        if self._number and not release_path(self._folder, self._number + 1).exists():
            return
        number = newest_number(self._folder)
        if number == self._number:
            return
        self._number = number
        try:
            self._policy = read_release(self._folder, number).log
        except MarloftError:
            _logger.exception("Release %s cannot be read; the log's policy stays.", number)


class RecordLog:
    """Appends JSON lines to a segment of its own, so that workers never share a file.

    A segment that reaches the policy's `segment_mb`, or whose end is asked for by the file `roll`,
    is closed, with count and hash, and the next one opened; closing, and the repair of what dead
    processes of this host left open, happens on a thread of its own, so that no request waits.
    Without a segment each append tries again to open one.
    """

    def __init__(self, folder: Path, policy: Callable[[], LogPolicy] = LogPolicy) -> None:
        """Open a new segment in `folder`, if it can be; `policy` is called before each append."""
        self._folder, self._policy = folder, policy
        self._lock = threading.Lock()
        # Before there is a segment, so that none misses a request that came after it.
        self._roll_requests = RollRequests(roll_path(folder), self._roll_if_used)
        self.path, self._file, self._size_bytes, self._failed = folder, -1, 0, False
        self._roll_failures = LogThrottle(
            _logger, f"No new segment can be opened in {folder}: the one before grows on."
        )
        self._encoder = msgspec.json.Encoder()
        self._closer = ThreadPoolExecutor(1, thread_name_prefix="log-closer")
        self.trouble()
        self._closer.submit(tighten, folder)
        self._closer.submit(close_dead_segments, folder)
        self._roll_requests.start()

    @property
    def policy(self) -> LogPolicy:
        """The policy in force now."""
        return self._policy()

    def append(self, records: Sequence[msgspec.Struct]) -> int:
        """Write all records with one system call and return the number of bytes.

        With `fsync: batch` they are on disk when this returns.

        Raises:
            OSError: the disk is full or the write was cut short; nothing may be acknowledged.
        """
        with self._lock:
            return self._append(records) if records else 0

    def _append(self, records: Sequence[msgspec.Struct]) -> int:
        self._failed = True
        policy = self._policy()
        self._open_if_gone()
        if self._size_bytes >= policy.segment_mb << 20:
            self._roll()
        data = self._encoder.encode_lines(records)
        written = os.write(self._file, data)
        if written != len(data):
            # A line cut short would run into the next batch's first one.
            os.ftruncate(self._file, os.lseek(self._file, 0, os.SEEK_END) - written)
            raise OSError(errno.ENOSPC, f"wrote {written} of {len(data)} bytes", str(self.path))
        self._size_bytes += written
        if policy.fsync == "batch":
            os.fdatasync(self._file)
        self._failed = False
        return written

    def trouble(self) -> OSError | None:
        """Return why the next record could not be written, None when it could; writes no record."""
        with self._lock:
            try:
                self._open_if_gone()
                check_room(self._file)
                if self._failed:
                    write_and_forget(self._folder)
            except OSError as error:
                return error
            self._failed = False
        return None

    def close(self) -> None:
        """Close the segment with its footer; returns when every earlier one is closed too."""
        self._roll_requests.end()
        with self._lock:
            if self._file >= 0:
                self._closer.submit(_finish, self.path, self._file)
            self._file = -1
        self._closer.shutdown()

    def _roll_if_used(self) -> None:
        """Close a segment that somebody asked for, unless it holds nothing or nothing is open."""
        with self._lock:
            if self._size_bytes and self._file >= 0:
                self._roll()

    def _open_if_gone(self) -> None:
        """Go on in a new segment when there is none, or its file was deleted."""
        if self._file < 0 or is_deleted(self._file):
            self._open()

    def _open(self) -> None:
        path, file = create_segment(self._folder)
        if self._file >= 0:
            self._closer.submit(_finish, self.path, self._file)
        self.path, self._file, self._size_bytes = path, file, 0

    def _roll(self) -> None:
        """Go on in a new segment; when there is no room for one, in the same."""
        try:
            self._open()
        except OSError as error:
            self._roll_failures.log(error)


def _finish(path: Path, file: int) -> None:
    """Close a segment of this process; its lock is released last."""
    try:
        close_segment(path)
    except OSError:
        _logger.exception("Segment %s cannot be closed yet.", path)
    finally:
        os.close(file)


class _AnswerLog:
    """Records a batch before its answers leave, or returns the problem to answer instead."""

    _name: ClassVar[str]
    _folder: ClassVar[Path]

    def __init__(self, var: Path, metrics: LogMetrics) -> None:
        """Open a segment below the state folder `var`, whose newest release has the policy."""
        self._log = RecordLog(var / self._folder, FollowedPolicy(var))
        self._metrics = metrics
        self._failures = LogThrottle(_logger, f"The {self._name} log cannot be written.")

    def _write(self, records: Sequence[msgspec.Struct], droppable: int) -> Problem | None:
        """Append and count; of records that cannot be written, `droppable` may be missing."""
        try:
            self._metrics.written(self._log.append(records))
        except OSError as error:
            self._metrics.failed(droppable)
            self._failures.log(error)
            return None if droppable else self._unavailable(error)
        return None

    def probe(self) -> Problem | None:
        """Return what the next request would be answered for the log's sake, None for nothing."""
        error = self._log.trouble()
        return None if error is None else self._unavailable(error)

    def _unavailable(self, error: OSError) -> Problem:
        return Problem(
            title=f"{self._name.capitalize()} log unavailable",
            status=503,
            detail=f"The {self._name} log cannot be written: {error.strerror}.",
        )


class PredictionLog(_AnswerLog):
    """The log of one worker's predictions."""

    _name, _folder = "prediction", PREDICTIONS_FOLDER

    def write(self, records: Sequence[PredictionRecord]) -> Problem | None:
        """Write a batch; with `disk_full: serve` its answers may leave without a record."""
        policy = self._log.policy
        droppable = len(records) if policy.disk_full == "serve" else 0
        return self._write(reduced(records, policy), droppable)

    def probe(self) -> Problem | None:
        """Return what the next request would be answered: nothing is refused by `serve`."""
        return None if self._log.policy.disk_full == "serve" else super().probe()


class OutcomeLog(_AnswerLog):
    """The log of the outcomes that one worker accepted."""

    _name, _folder = "outcome", OUTCOMES_FOLDER

    def write(self, records: Sequence[OutcomeRecord]) -> Problem | None:
        """Write a batch, whatever `disk_full` says: a 202 promises that the record is there."""
        return self._write(records, droppable=0)
