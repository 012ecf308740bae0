"""`var/events.jsonl`: who did what and why, for people; no program decides by it."""

import getpass
import logging
import os
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any

import msgspec

from marloft.files import PRIVATE, private_folder

_MOST_BYTES = 16 << 20
_logger = logging.getLogger(__name__)


def now() -> str:
    """Return the time as UTC ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def actor() -> str:
    """Return the name of the user who runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def events_path(var: Path) -> Path:
    """Return the file below the state folder; what was before it is in `events.jsonl.1`."""
    return var / "events.jsonl"


def append_event(var: Path, event: str, **facts: Any) -> None:
    """Append one line; a single write keeps lines of several processes whole.

    `facts` may name another `actor` than the user of this process. A line that cannot be written is
    a warning: what it tells of has happened, and must not fail because nobody is told.
    """
    line = msgspec.json.encode({"time": now(), "actor": actor(), "event": event, **facts}) + b"\n"
    try:
        private_folder(var)
        with _opened(var) as stream:
            stream.write(line)
    except OSError as error:
        _logger.warning("%s is not recorded in events.jsonl: %s", event, error)


def rotate_events(var: Path, most_bytes: int = _MOST_BYTES) -> None:
    """Begin a new file when this one is too long; one older file is kept.

    Only `marloft serve` calls it, so that no two processes rename at once.

    Raises:
        OSError: the file cannot be looked at, appended to or renamed.
    """
    path = events_path(var)
    with _opened(var) as stream:
        size = os.fstat(stream.fileno()).st_size
    if size > most_bytes:
        path.replace(path.with_name(path.name + ".1"))


def _opened(var: Path) -> FileIO:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
    return FileIO(os.open(events_path(var), flags, PRIVATE), "ab")
