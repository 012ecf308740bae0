"""`live.json`: read back as it was written, in the state folder's `run/`."""

from pathlib import Path

import msgspec
import pytest

from marloft.contract.live import Live, Reading, VersionState, WatchState, live_path
from marloft.files import read_json, write_json

READING = Reading(
    guardrail="p99_ms", value=120.0, control=None, limit=100.0, evidence=3.5, broken=False
)
LIVE = Live(
    time="2026-01-01T00:00:00+00:00",
    release=4,
    live=False,
    serving={"ranker": 3},
    versions={"ranker": {"2.0": VersionState(state="refused", why="golden answer 3 differs")}},
    watches={
        "ranker": WatchState(
            version="2.0",
            percent=5,
            held_s=12.0,
            hold_s=60.0,
            answered=34,
            min_requests=50,
            readings=[READING],
        )
    },
)


def test_report_reads_back_from_its_place(tmp_path: Path) -> None:
    write_json(live_path(tmp_path), LIVE)
    assert (tmp_path / "run" / "live.json").is_file()
    assert read_json(live_path(tmp_path), Live) == LIVE


def test_report_of_before_watches_were_written_is_read() -> None:
    older = msgspec.to_builtins(LIVE)
    del older["watches"], older["complaint"]
    assert msgspec.convert(older, Live).watches == {}


def test_unknown_state_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="Invalid enum value 'asleep'"):
        msgspec.convert({"state": "asleep"}, VersionState)
