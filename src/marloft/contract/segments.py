"""Log segments on disk: their names, and what a closed one promises about its bytes.

A process appends to a segment of its own, `<start>-<host>-<process id>.jsonl`, and holds an flock
on it. Closed, it changes only when a person is forgotten: `<segment>.closed.json` says how many
records it holds and what their bytes hash to. `<segment>.torn` keeps a last line that was cut short
when its writer died. https://man7.org/linux/man-pages/man2/flock.2.html

`roll`, next to the folders of segments, asks writers to close what they write to and to go on in a
new segment: they do when its bytes have changed.
"""

import os
from pathlib import Path

from msgspec import Struct

SEGMENTS = "*.jsonl"
_BLOCK = 1 << 20
_CLOSED, _TORN, _UNFINISHED = ".closed.json", ".torn", ".forget"


class Forgotten(Struct, frozen=True, kw_only=True):
    """One time that records were removed from a closed segment, to forget a person.

    `records` is how many, `sha256` that of the bytes before, `time` is UTC ISO 8601.
    """

    time: str
    records: int
    sha256: str


class Footer(Struct, frozen=True, kw_only=True):
    """What a closed segment holds; `first_time` and `last_time` are None when it is empty.

    `closed` is when it was closed, UTC ISO 8601; `sha256` is that of all its bytes; `torn_bytes`
    counts what was cut off into `<segment>.torn`. `becomes` is the next footer while records are
    being removed: the segment is then as one of the two says.
    """

    records: int
    size_bytes: int
    sha256: str
    first_time: str | None
    last_time: str | None
    closed: str
    torn_bytes: int = 0
    forgotten: list[Forgotten] = []
    becomes: "Footer | None" = None


class Writer(Struct, frozen=True, kw_only=True):
    """Who wrote a segment, as its name says."""

    started: str
    host: str
    pid: int


def segments(folder: Path) -> list[Path]:
    """Return the segments of a folder in the order of their start, none where it does not exist.

    Raises:
        PermissionError: the folder is another user's; `glob` would find it empty.
    """
    try:
        return sorted(path for path in folder.iterdir() if path.name.endswith(".jsonl"))
    except FileNotFoundError:
        return []


def footer_path(segment: Path) -> Path:
    """Return the file that exists once the segment is closed."""
    return segment.with_name(segment.name + _CLOSED)


def torn_path(segment: Path) -> Path:
    """Return the file that keeps what was cut off the segment's end."""
    return segment.with_name(segment.name + _TORN)


def segment_of(footer: Path) -> Path:
    """Return the segment that a footer belongs to."""
    return footer.with_name(footer.name.removesuffix(_CLOSED))


def unfinished_path(segment: Path) -> Path:
    """Return where the segment's bytes without a forgotten person's are written."""
    return segment.with_name(segment.name + _UNFINISHED)


def unfinished(folder: Path) -> list[Path]:
    """Return what was being written so when it was interrupted."""
    return sorted(folder.glob(SEGMENTS + _UNFINISHED))


def roll_path(folder: Path) -> Path:
    """Return the file that asks the writers of a folder of segments for new segments."""
    return folder.parent / "roll"


def footers(folder: Path) -> list[Path]:
    """Return all footers of a folder, including those whose segment is gone."""
    return sorted(folder.glob(SEGMENTS + _CLOSED))


def segment_name(writer: Writer) -> str:
    """Return the file name of a writer's segment; names sort by the time of their start."""
    return f"{writer.started}-{writer.host}-{writer.pid}.jsonl"


def writer_of(segment: Path) -> Writer | None:
    """Return who wrote a segment, None when its name was not given by marloft."""
    started, _, rest = segment.stem.partition("-")
    host, _, pid = rest.rpartition("-")
    return Writer(started=started, host=host, pid=int(pid)) if host and pid.isdecimal() else None


def end_of_last_line(file: int, size: int) -> int:
    """Return where the last whole line of a file's first `size` bytes ends, 0 without one.

    Args:
        file: a descriptor that can be read; its position is left as it is.
        size: how far to look, in bytes.
    """
    stop = size
    while stop > 0:
        start = max(0, stop - _BLOCK)
        found = os.pread(file, stop - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        stop = start
    return 0
