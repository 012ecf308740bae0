"""The segments of a log as a reader sees them: who wrote them, whether they have changed."""

from pathlib import Path

from msgspec import Struct

from marloft.contract.records import OUTCOMES_FOLDER, PREDICTIONS_FOLDER
from marloft.contract.segments import (
    Footer,
    Writer,
    footer_path,
    segments,
    torn_path,
    writer_of,
)
from marloft.files import read_json, sha256_file

# A segment may be rewritten while it is looked at; each time takes moments.
_LOOKS = 5
FOLDERS = {"predictions": PREDICTIONS_FOLDER, "outcomes": OUTCOMES_FOLDER}


class Segment(Struct, frozen=True, kw_only=True):
    """One segment file; `footer` is None while it is open.

    `writer` is None when the name was not given by marloft. `torn_lines` is 1 when a line was cut
    short at its end, whether it is still there or was moved away by the repair.
    """

    path: Path
    size_bytes: int
    writer: Writer | None
    footer: Footer | None
    torn_lines: int


def list_segments(var: Path, kind: str) -> list[Segment]:
    """Return the segments of `predictions` or `outcomes` in the order of their start.

    Raises:
        ConfigError: a footer is damaged.
    """
    return [_look_at(path) for path in segments(var / FOLDERS[kind])]


def mismatch(segment: Segment) -> str | None:
    """Compare a closed segment with its footer; return what differs, None when nothing does.

    An open segment has nothing to compare with. What differs while a person is being forgotten is
    looked at again, with the footer of then.
    """
    for _ in range(_LOOKS):
        found = _difference(segment)
        now = _look_at(segment.path)
        being_rewritten = now.footer is not None and now.footer.becomes is not None
        if found is None or (now.footer == segment.footer and not being_rewritten):
            return found
        segment = now
    return found


def _difference(segment: Segment) -> str | None:
    footer = segment.footer
    if footer is None:
        return None
    if footer.becomes is not None and sha256_file(segment.path) == footer.becomes.sha256:
        # `forget` was interrupted after the bytes were in place; another run finishes it.
        return None
    size = segment.path.stat().st_size
    if size != footer.size_bytes:
        return f"{segment.path}: {size} bytes, was closed with {footer.size_bytes}"
    digest = sha256_file(segment.path)
    if digest != footer.sha256:
        return f"{segment.path}: SHA-256 {digest[:12]}…, was closed with {footer.sha256[:12]}…"
    lines = _count_lines(segment.path)
    if lines != footer.records:
        return f"{segment.path}: {lines} records, was closed with {footer.records}"
    return None


def _look_at(path: Path) -> Segment:
    closed = footer_path(path)
    footer = read_json(closed, Footer) if closed.exists() else None
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - 1))
        whole = stream.read(1) in (b"", b"\n")
    return Segment(
        path=path,
        size_bytes=size,
        writer=writer_of(path),
        footer=footer,
        torn_lines=int(torn_path(path).exists() or not whole),
    )


def _count_lines(path: Path) -> int:
    with path.open("rb") as stream:
        return sum(1 for _ in stream)
