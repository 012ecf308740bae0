"""`var/events.jsonl`: who did what and why, for people; no program decides by it."""

import getpass
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec


def now() -> str:
    """Return the time as UTC ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def actor() -> str:
    """Return the name of the user who runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def append_event(var: Path, event: str, **facts: Any) -> None:
    """Append one line; a single write keeps lines of several processes whole.

    `facts` may name another `actor` than the user of this process.
    """
    var.mkdir(parents=True, exist_ok=True)
    line = msgspec.json.encode({"time": now(), "actor": actor(), "event": event, **facts}) + b"\n"
    with (var / "events.jsonl").open("ab", buffering=0) as stream:
        stream.write(line)
