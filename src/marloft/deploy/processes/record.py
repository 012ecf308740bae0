"""The record of a process: what the next supervisor needs to find it."""

from contextlib import suppress
from pathlib import Path

import psutil
from msgspec import Struct

from marloft.errors import ConfigError
from marloft.files import PRIVATE, parse_json, to_json, write_if_other


class ProcessRecord(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One process: a pid alone could be another's by then.

    `created` is its start in seconds since the epoch, as the kernel tells; `folder` holds what it
    unpacked.
    """

    pid: int
    created: float
    fingerprint: str
    folder: str | None = None

    def process(self) -> psutil.Process | None:
        """Return the process if it still runs."""
        try:
            process = psutil.Process(self.pid)
            same = process.create_time() == self.created
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


def record_of(pid: int, fingerprint: str, folder: Path | None) -> ProcessRecord | None:
    """Return the record of a running process, None when it has ended."""
    try:
        created = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return None
    kept = None if folder is None else str(folder)
    return ProcessRecord(pid=pid, created=created, fingerprint=fingerprint, folder=kept)


class RecordFile:
    """The file of a record; without a path there is none."""

    def __init__(self, path: Path | None) -> None:
        """Remember where it lies."""
        self.path = path

    def read(self) -> ProcessRecord | None:
        """Return what the file says, None when it says nothing."""
        if self.path is None:
            return None
        try:
            return parse_json(self.path.read_bytes(), ProcessRecord, str(self.path))
        except FileNotFoundError:
            return None
        except (ConfigError, OSError):
            # Torn by a crash: what it named is found by its mark.
            self.forget()
            return None

    def keep(self, record: ProcessRecord) -> None:
        """Write the record unless the file says so already; raises OSError when it cannot be."""
        if self.path is not None:
            write_if_other(self.path, to_json(record), PRIVATE)

    def forget(self) -> None:
        """Remove the file.

        One that stays names a process that has ended, which the next supervisor finds out.
        """
        if self.path is not None:
            with suppress(OSError):
                self.path.unlink(missing_ok=True)
