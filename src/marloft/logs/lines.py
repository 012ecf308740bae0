"""The last records of a log, then those that follow: what `marloft log tail` shows."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from marloft.contract.segments import segments
from marloft.logs.tail import LogTail

Keep = Callable[[dict[str, Any]], bool]
_BLOCK = 1 << 20


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One record: its line as it is in the log, and its fields."""

    raw: bytes
    record: dict[str, Any]


class LastLines:
    """The newest records of a folder's segments that `keep` accepts."""

    def __init__(self, folder: Path, keep: Keep) -> None:
        """Remember where each segment ends now: what is added later is for `new`."""
        self._keep = keep
        self._tail: LogTail[msgspec.Raw] = LogTail(folder, msgspec.Raw, history_s=0)
        self._ends = self._tail.skip_to_end()
        self._paths = sorted(segments(folder), key=_modified, reverse=True)

    def last(self, count: int) -> list[Line]:
        """Return at most `count` records, oldest first."""
        if count == 0:
            return []
        found: list[Line] = []
        for path in self._paths:
            if len(found) == count and _modified(path) < _oldest_s(found):
                break
            found += self._last_of(path, count)
            found.sort(key=_time)
            found = found[-count:]
        return found

    def new(self) -> list[Line]:
        """Return the records that were added since the last call."""
        lines = (_line(bytes(raw)) for raw in self._tail.read_new())
        return [line for line in lines if line is not None and self._keep(line.record)]

    def _last_of(self, path: Path, count: int) -> list[Line]:
        found: list[Line] = []
        for raw in _reversed_lines(path, self._ends.get(path.name, 0)):
            line = _line(raw)
            if line is not None and self._keep(line.record):
                found.append(line)
                if len(found) >= count:
                    break
        return found


def _line(raw: bytes) -> Line | None:
    try:
        record = msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return Line(raw=raw, record=record)


def _reversed_lines(path: Path, end: int) -> Iterator[bytes]:
    """Yield the lines before byte `end`, where a line ends, from the last to the first."""
    rest = b""
    with path.open("rb") as stream:
        while end > 0:
            start = max(0, end - _BLOCK)
            stream.seek(start)
            first, *lines = (stream.read(end - start) + rest).split(b"\n")
            yield from (line for line in reversed(lines) if line)
            rest, end = first, start
    if rest:
        yield rest


def _time(line: Line) -> str:
    return str(line.record.get("time", ""))


def _oldest_s(found: list[Line]) -> float:
    try:
        time = datetime.fromisoformat(_time(found[0]))
    except ValueError:
        return 0.0
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _modified(path: Path) -> float:
    return path.stat().st_mtime
