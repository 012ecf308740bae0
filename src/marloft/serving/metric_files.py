"""The memory-mapped files that a worker counts in, with each block of theirs reserved.

prometheus_client makes them sparse: on a full disk the first touch of a page is a SIGBUS, which no
Python code can catch, and the worker is gone. Where no blocks are left, the worker counts in memory
that no file has: its numbers are missing at the exporter, and nothing else.
"""

import logging
import mmap
import os
from pathlib import Path
from typing import Any

from prometheus_client import mmap_dict, values

from marloft.files import private_folder

FOLDER_ENV = "PROMETHEUS_MULTIPROC_DIR"
_FIRST_BYTES = 1 << 16
# What an entry adds to its key: its length, padding, value and time.
_ENTRY_BYTES = 32
# The first ones say how many are used.
_HEADER_BYTES = 8
_Untyped: Any = mmap_dict.MmapedDict
_logger = logging.getLogger(__name__)


def use_reserved_files() -> None:
    """Make the folder of the files and have prometheus_client count in reserved ones."""
    values.MmapedDict = ReservedFile  # type: ignore[attr-defined]
    folder = os.environ.get(FOLDER_ENV)
    if folder:
        try:
            private_folder(Path(folder))
        except OSError as error:
            _logger.warning(
                "%s cannot be made (%s): this worker's counts stay in it.", folder, error
            )


class ReservedFile(_Untyped):  # type: ignore[misc]
    """One file of a worker, mapped to be counted in."""

    _f: Any
    _m: Any
    _fname: str
    _capacity: int
    _used: int
    _positions: dict[str, int]

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        """Open the file, or go on without one."""
        if read_mode:
            super().__init__(filename, read_mode)
            return
        try:
            _reserve(filename)
            super().__init__(filename)
        except OSError as error:
            self._f, self._fname = None, filename
            self._used, self._positions = _HEADER_BYTES, {}
            self._go_on_in_memory(_FIRST_BYTES, b"", error)

    def _init_value(self, key: str) -> None:
        """Add an entry, with room for it made before the library would make it."""
        while self._used + len(key.encode()) + _ENTRY_BYTES > self._capacity:
            self._grow()
        super()._init_value(key)

    def _grow(self) -> None:
        content, capacity = self._m[: self._used], 2 * self._capacity
        try:
            if self._f is None:
                self._map_memory(capacity, content)
                return
            os.posix_fallocate(self._f.fileno(), 0, capacity)
            self._m = mmap.mmap(self._f.fileno(), capacity)
            self._capacity = capacity
        except OSError as error:
            self._go_on_in_memory(capacity, content, error)

    def _go_on_in_memory(self, capacity: int, content: bytes, error: OSError) -> None:
        _logger.warning(
            "No room for %s (%s): this worker counts on in memory.", self._fname, error.strerror
        )
        if self._f is not None:
            self._f.close()
            self._f = None
        self._map_memory(capacity, content)

    def _map_memory(self, capacity: int, content: bytes) -> None:
        self._m, self._capacity = mmap.mmap(-1, capacity), capacity
        self._m[: len(content)] = content


def _reserve(filename: str) -> None:
    """Make a file of zeros that has its blocks; raise OSError, and leave none, if it cannot be."""
    path = Path(filename)
    if path.exists():
        return
    unnamed = path.with_suffix(".new")
    try:
        with unnamed.open("xb") as stream:
            os.posix_fallocate(stream.fileno(), 0, _FIRST_BYTES)
        unnamed.rename(path)
    finally:
        unnamed.unlink(missing_ok=True)
