"""The prediction log: one append per batch, before the answers leave the worker."""

import errno
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from marloft.contract.policy import LogPolicy
from marloft.serving.log_throttle import LogThrottle
from marloft.serving.segments import close_dead_segments, close_segment, create_segment

VAR_ENV = "MARLOFT_VAR"
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


class RecordLog:
    """Appends JSON lines to a segment of its own, so that workers never share a file.

    A segment that reaches the policy's `segment_mb` is closed, with count and hash, and the next
    one opened; closing, and the repair of what dead processes of this host left open, happens
    beside the requests on one thread.
    """

    def __init__(self, folder: Path, policy: Callable[[], LogPolicy] = LogPolicy) -> None:
        """Open a new segment in `folder`; `policy` is asked before each append."""
        self._folder, self._policy = folder, policy
        self.path, self._file = create_segment(folder)
        self._size_bytes = 0
        self._roll_failure = LogThrottle(
            _logger, f"No new segment can be opened in {folder}: the one before grows on."
        )
        self._encoder = msgspec.json.Encoder()
        self._closer = ThreadPoolExecutor(1, thread_name_prefix="log-closer")
        self._closer.submit(close_dead_segments, folder)

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
        if not records:
            return 0
        policy = self._policy()
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
        return written

    def close(self) -> None:
        """Close the segment with its footer; returns when every earlier one is closed too."""
        finished, file = self.path, self._file
        self._file = -1
        self._closer.submit(_finish, finished, file)
        self._closer.shutdown()

    def _roll(self) -> None:
        """Go on in a new segment; when there is no room for one, in the same."""
        try:
            path, file = create_segment(self._folder)
        except OSError as error:
            self._roll_failure.log(error)
            return
        finished = self.path, self._file
        self.path, self._file, self._size_bytes = path, file, 0
        self._closer.submit(_finish, *finished)


def _finish(path: Path, file: int) -> None:
    """Close a segment of this process; its lock is let go last."""
    try:
        close_segment(path)
    except OSError:
        _logger.exception("Segment %s cannot be closed yet.", path)
    finally:
        os.close(file)
