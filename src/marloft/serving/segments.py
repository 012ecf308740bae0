"""Opens and closes segments: a torn last line is cut off, count and hash go to the footer.

A segment without its footer is open. Its writer holds an flock on it for as long as the process
lives, which no reuse of process ids can fake: the process that gets the lock may close the segment.
"""

import fcntl
import hashlib
import logging
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from marloft.contract.segments import (
    SEGMENTS,
    Footer,
    Writer,
    end_of_last_line,
    footer_path,
    segment_name,
    torn_path,
    writer_of,
)
from marloft.files import PRIVATE, private_folder, write_atomic, write_json

# Locks of another host's processes are seen on most shared file systems, not on all.
FOREIGN_S = 24 * 3600.0
_BLOCK = 1 << 20
_logger = logging.getLogger(__name__)


class _Stamp(msgspec.Struct, frozen=True):
    time: str


_stamp = msgspec.json.Decoder(_Stamp)


def create_segment(folder: Path) -> tuple[Path, int]:
    """Return the path and the locked descriptor of a new, empty segment of this process.

    It gets its name only after it is locked, so that nobody can take it for a dead one's; the
    name itself is on disk when this returns.
    """
    private_folder(folder)
    started = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    # Without the host, workers of two containers that share the folder could meet in one file.
    writer = Writer(started=started, host=platform.node(), pid=os.getpid())
    path = folder / segment_name(writer)
    unnamed = path.with_suffix(".new")
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    file = os.open(unnamed, flags, PRIVATE)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unnamed.rename(path)
        sync_folder(folder)
    except BaseException:
        os.close(file)
        unnamed.unlink(missing_ok=True)
        raise
    return path, file


def close_segment(path: Path) -> Footer:
    """Repair and close a segment whose lock the caller holds, or whose writer is the caller.

    Raises:
        OSError: the disk is full or fails; the segment stays open, to be closed by a later try.
    """
    with path.open("r+b") as stream:
        torn_bytes = _cut_torn_line(path, stream.fileno())
        os.fsync(stream.fileno())
    footer = describe_segment(path, torn_bytes)
    write_json(footer_path(path), footer, PRIVATE)
    return footer


def close_dead_segments(folder: Path) -> list[Path]:
    """Close the segments that no living process writes to and return them.

    Those of another host must also be untouched for a day. A segment that cannot be closed
    now is left open and logged.
    """
    closed = []
    for path in sorted(folder.glob(SEGMENTS)):
        if footer_path(path).exists() or not _may_be_dead(path):
            continue
        try:
            with _locked(path) as locked:
                if locked and not footer_path(path).exists():
                    close_segment(path)
                    closed.append(path)
        except OSError:
            _logger.exception("Segment %s cannot be closed yet.", path)
    return closed


def _may_be_dead(path: Path) -> bool:
    writer = writer_of(path)
    if writer is not None and writer.host == platform.node():
        return True
    try:
        return time.time() - path.stat().st_mtime > FOREIGN_S
    except FileNotFoundError:
        return False


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Yield whether the lock could be had at once."""
    with path.open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _cut_torn_line(path: Path, file: int) -> int:
    """Move what follows the last whole line to `<segment>.torn`; return its size in bytes."""
    size = os.fstat(file).st_size
    whole = end_of_last_line(file, size)
    if whole < size:
        # Kept before it is cut: a crash between the two does both again.
        write_atomic(torn_path(path), os.pread(file, size - whole, whole), PRIVATE)
        os.ftruncate(file, whole)
        _logger.warning("%s: a torn line of %d bytes was cut off.", path, size - whole)
    kept = torn_path(path)
    return kept.stat().st_size if kept.exists() else 0


def describe_segment(path: Path, torn_bytes: int = 0) -> Footer:
    """Return what the bytes of a segment are, closed now."""
    digest = hashlib.sha256()
    records = size = 0
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
            records += block.count(b"\n")
            size += len(block)
    first, last = _ends(path, size)
    return Footer(
        records=records,
        size_bytes=size,
        sha256=digest.hexdigest(),
        first_time=first,
        last_time=last,
        closed=datetime.now(UTC).isoformat(timespec="milliseconds"),
        torn_bytes=torn_bytes,
    )


def _ends(path: Path, size: int) -> tuple[str | None, str | None]:
    """Return the times of the first and the last record, None where there is none."""
    if size == 0:
        return None, None
    with path.open("rb") as stream:
        first = stream.readline()
        start = end_of_last_line(stream.fileno(), size - 1)
        return _time(first), _time(os.pread(stream.fileno(), size - start, start))


def _time(line: bytes) -> str | None:
    try:
        return _stamp.decode(line).time
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def sync_folder(folder: Path) -> None:
    """Bring the names of a folder's files to disk."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
