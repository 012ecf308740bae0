"""Segments and releases on disk, as workers and `marloft apply` leave them."""

import json
from pathlib import Path
from typing import Any

import msgspec

from marloft.contract.manifest import WorkerSettings
from marloft.contract.release import (
    Allocation,
    Arm,
    ReleasedModel,
    ReleasedVersion,
    release_path,
)
from marloft.contract.segments import Writer, segment_name
from marloft.files import write_json
from marloft.serving.segments import close_segment
from tests.releases import made_release

STARTED = "20260101T000000000000"
SHA = {"1.0": "a" * 64, "2.0": "b" * 64}
ALLOCATION = Allocation(
    name="feed_ab",
    salt="s",
    unit="user_id",
    arms=[
        Arm(name="control", version="1.0", weight=50),
        Arm(name="treatment", version="2.0", weight=50),
    ],
)


class Seen(msgspec.Struct, frozen=True):
    request_id: str


def write_segment(
    var: Path,
    kind: str,
    records: list[dict[str, Any]],
    *,
    started: str = STARTED,
    host: str = "host",
    pid: int = 7,
    tail: str = "",
) -> Path:
    """Write one open segment as a worker names it."""
    name = segment_name(Writer(started=started, host=host, pid=pid))
    path = var / "log" / kind / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records) + tail)
    return path


def close(path: Path) -> None:
    """Close a segment as the next worker does."""
    close_segment(path)


def write_release(var: Path, number: int = 1, allocation: Allocation | None = ALLOCATION) -> None:
    """Write a release of ranker 1.0 and 2.0 with an experiment running."""
    versions = {
        version: ReleasedVersion(sha256=sha, settings=WorkerSettings())
        for version, sha in SHA.items()
    }
    model = ReleasedModel(default="1.0", versions=versions, allocation=allocation)
    release = made_release({"ranker": model}, number)
    write_json(release_path(var / "releases", number), release)
