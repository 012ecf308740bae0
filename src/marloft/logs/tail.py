"""Follows growing log segments: each call returns the records that were added since the last.

For numbers that are needed every few seconds; `logs.read` re-reads everything and joins exactly.
"""

import os
import time
import weakref
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from marloft.contract.segments import end_of_last_line, footer_path, segments

T = TypeVar("T")
MAX_BYTES = 64 << 20
# The kernel stamps files by a clock that ticks this rarely at most (CONFIG_HZ=100): a file that is
# written to just after a moment can bear an earlier time.
_MTIME_TICK_S = 0.01


class LogTail(Generic[T]):
    """Reads `*.jsonl` segments of one folder from where it stopped.

    `damaged_lines` and `skipped_bytes` count what was skipped: lines that are not records of
    `kind`, and the older part of a segment that grew by more than `max_bytes` between two calls.
    A last line without its end is left for the next call: it may still be being written.
    """

    def __init__(
        self, folder: Path, kind: type[T], *, history_s: float, max_bytes: int = MAX_BYTES
    ) -> None:
        """Start with the segments written to in the last `history_s`; older ones are never read.

        Args:
            folder: the folder of the segments; it need not exist yet.
            kind: the fields to decode; the others are skipped, which is most of the speed.
            history_s: how far back the first call looks.
            max_bytes: how much of one segment is read at most per call.
        """
        self._folder, self._max_bytes = folder, max_bytes
        self._decoder = msgspec.json.Decoder(kind)
        self._oldest_s = time.time() - history_s - _MTIME_TICK_S
        self._offsets: dict[str, int] = {}
        self._files: dict[str, int] = {}
        weakref.finalize(self, _close_all, self._files)
        self.damaged_lines = 0
        self.skipped_bytes = 0

    def read_new(self) -> list[T]:
        """Return the new records, segment by segment in the order of their names."""
        found: list[T] = []
        for path in segments(self._folder):
            try:
                found += self._decode(self._new_lines(path))
            except FileNotFoundError:
                # Retention was quicker.
                self._leave(path.name)
        return found

    def skip_to_end(self) -> dict[str, int]:
        """Skip all whole lines there are now; return how far each segment was skipped."""
        for path in segments(self._folder):
            file = self._files[path.name] = os.open(path, os.O_RDONLY)
            self._offsets[path.name] = end_of_last_line(file, os.fstat(file).st_size)
            if footer_path(path).exists():
                self._leave(path.name)
        return dict(self._offsets)

    def _new_lines(self, path: Path) -> bytes:
        file = self._file(path)
        if file is None:
            return b""
        # Asked first: what is there then is all that will ever be.
        closed = footer_path(path).exists()
        data = self._read(path.name, file)
        now = path.stat()
        rewritten = now.st_ino != os.fstat(file).st_ino
        if rewritten:
            self._offsets[path.name] = now.st_size
        if rewritten or closed:
            self._leave(path.name)
        return data

    def _file(self, path: Path) -> int | None:
        """Return the open file of a segment that may have grown; None for one that has not.

        It is held while its writer lives: who is forgotten later is taken out of another file of
        the same name, in which this place means another record.
        """
        name = path.name
        if name not in self._files:
            if name in self._offsets or path.stat().st_mtime < self._oldest_s:
                return None
            self._files[name] = os.open(path, os.O_RDONLY)
        return self._files[name]

    def _leave(self, name: str) -> None:
        file = self._files.pop(name, None)
        if file is not None:
            os.close(file)

    def _read(self, name: str, file: int) -> bytes:
        size = os.fstat(file).st_size
        # A writer that finds the disk full removes the part of a batch that it had written.
        offset = self._offsets[name] = min(self._offsets.get(name, 0), size)
        start = max(offset, size - self._max_bytes)
        data = os.pread(file, size - start, start)
        end = data.rfind(b"\n") + 1
        begin = 0
        if start > offset:
            begin = data.find(b"\n") + 1
            self.skipped_bytes += start + begin - offset
        if end:
            self._offsets[name] = start + end
        return data[begin:end]

    def _decode(self, data: bytes) -> list[T]:
        try:
            return self._decoder.decode_lines(data)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return [record for line in data.splitlines() if (record := self._decode_one(line))]

    def _decode_one(self, line: bytes) -> T | None:
        try:
            return self._decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.damaged_lines += 1
            return None


def _close_all(files: dict[str, int]) -> None:
    for file in files.values():
        os.close(file)
