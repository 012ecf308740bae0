"""The prediction log: one append per batch, before the answers leave the worker."""

import errno
import logging
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

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
    """Appends JSON lines to a segment of its own, so that workers never share a file."""

    def __init__(self, folder: Path) -> None:
        """Open a new segment in `folder`, named by start time, host and process id.

        Without the host, workers of two containers that share the folder could meet in one file.
        """
        folder.mkdir(parents=True, exist_ok=True)
        started = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        self.path = folder / f"{started}-{platform.node()}-{os.getpid()}.jsonl"
        self._file = os.open(
            self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644
        )
        self._encoder = msgspec.json.Encoder()

    def append(self, records: Sequence[msgspec.Struct]) -> int:
        """Write all records with one system call and return the number of bytes.

        Raises:
            OSError: the disk is full or the write was cut short; nothing may be acknowledged.
        """
        if not records:
            return 0
        data = self._encoder.encode_lines(records)
        written = os.write(self._file, data)
        if written != len(data):
            # A line cut short would run into the next batch's first one.
            os.ftruncate(self._file, os.lseek(self._file, 0, os.SEEK_END) - written)
            raise OSError(errno.ENOSPC, f"wrote {written} of {len(data)} bytes", str(self.path))
        return written

    def close(self) -> None:
        """Close the segment."""
        os.close(self._file)
