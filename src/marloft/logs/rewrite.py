"""Removes records from a closed segment, so that a crash at any moment can be finished later.

First the footer says what the segment becomes, then the new bytes take the old ones' name, then
the footer of the new bytes stands alone. In between the segment is as one of the two footers says.
"""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from marloft.contract.segments import Footer, Forgotten, footer_path, unfinished_path
from marloft.errors import DataError
from marloft.files import PRIVATE, read_json, sha256_file, write_json
from marloft.serving.segments import describe_segment, sync_folder

Theirs = Callable[[bytes], bool]


class Rewritten(Struct, frozen=True, kw_only=True):
    """A segment that records were removed from; the hashes are those of its bytes."""

    segment: Path
    records: int
    sha256_before: str
    sha256_after: str


def remove_records(segment: Path, theirs: Theirs) -> list[Rewritten]:
    """Remove the lines that `theirs` accepts from a closed segment; the others keep their bytes.

    Returns:
        What was done: nothing, one rewriting, or two, when an earlier one had to be finished.

    Raises:
        DataError: the segment is not what it was when it was closed. Its bytes are left alone: a
            new footer would hide that somebody changed them.
        OSError: the disk is full or fails; the segment and its footer are as before.
    """
    footer, finished = _settle(segment)
    with segment.open("rb") as stream:
        if not any(theirs(line) for line in stream):
            return finished
    if sha256_file(segment) != footer.sha256:
        raise _changed(segment)
    unfinished = unfinished_path(segment)
    try:
        removed = _copy_others(segment, unfinished, theirs)
        _begin(segment, unfinished, footer, removed)
        unfinished.replace(segment)
    finally:
        unfinished.unlink(missing_ok=True)
    sync_folder(segment.parent)
    return finished + _settle(segment)[1]


def _begin(segment: Path, unfinished: Path, footer: Footer, removed: int) -> None:
    """Let the footer say what the segment becomes."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    done = Forgotten(time=now, records=removed, sha256=footer.sha256)
    described = describe_segment(unfinished, footer.torn_bytes)
    becomes = replace(described, closed=footer.closed, forgotten=[*footer.forgotten, done])
    write_json(footer_path(segment), replace(footer, becomes=becomes), PRIVATE)


def _settle(segment: Path) -> tuple[Footer, list[Rewritten]]:
    """Return the footer that the segment's bytes agree with, alone on disk."""
    footer = read_json(footer_path(segment), Footer)
    becomes = footer.becomes
    if becomes is None:
        return footer, []
    sha256 = sha256_file(segment)
    if sha256 not in (footer.sha256, becomes.sha256):
        raise _changed(segment)
    done = sha256 == becomes.sha256
    settled = becomes if done else replace(footer, becomes=None)
    write_json(footer_path(segment), settled, PRIVATE)
    if not done:
        return settled, []
    rewritten = Rewritten(
        segment=segment,
        records=settled.forgotten[-1].records,
        sha256_before=footer.sha256,
        sha256_after=settled.sha256,
    )
    return settled, [rewritten]


def _copy_others(segment: Path, target: Path, theirs: Theirs) -> int:
    """Write what is to stay, on disk and with the segment's time; return what was left out.

    Who follows the log by time would take a segment of today for today's records.
    """
    removed = 0
    file = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, PRIVATE)
    with segment.open("rb") as source, os.fdopen(file, "wb") as others:
        for line in source:
            if theirs(line):
                removed += 1
            else:
                others.write(line)
        others.flush()
        os.fsync(others.fileno())
    state = segment.stat()
    os.utime(target, ns=(state.st_atime_ns, state.st_mtime_ns))
    return removed


def _changed(segment: Path) -> DataError:
    return DataError(
        f"{segment}: is not what it was when it was closed, so that nothing is removed from it; "
        "`marloft log stat --check` says how. Put a copy of it back, or move it away."
    )
