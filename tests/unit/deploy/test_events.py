"""Each event is one whole line that says when, who and what."""

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from marloft.deploy.events import actor, append_event, events_path, now, rotate_events
from tests.file_modes import open_to_others, umask


def lines(var: Path) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in (var / "events.jsonl").read_bytes().splitlines()]


def test_now_is_utc_with_milliseconds() -> None:
    before = datetime.now(UTC)
    said = now()
    assert len(said) == len("2026-01-01T00:00:00.000+00:00")
    assert said.endswith("+00:00")
    assert 0 <= (datetime.fromisoformat(said) - before).total_seconds() + 0.001 < 5


def test_events_are_for_their_owner_alone(tmp_path: Path) -> None:
    with umask(0):
        append_event(tmp_path / "var", "apply")
    assert open_to_others(tmp_path / "var") == []


def test_actor_is_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "ada")
    assert actor() == "ada"


@pytest.mark.parametrize("error", [KeyError, OSError])
def test_user_without_a_name_is_a_number(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    def nameless() -> str:
        raise error

    monkeypatch.setattr("getpass.getuser", nameless)
    monkeypatch.setattr("os.getuid", lambda: 1234)
    assert actor() == "uid 1234"


def test_event_says_who_did_what_with_which_facts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "ada")
    append_event(tmp_path / "var", "scale", model="ranker", to=3)
    (line,) = lines(tmp_path / "var")
    assert list(line) == ["time", "actor", "event", "model", "to"]
    datetime.fromisoformat(line.pop("time"))
    assert line == {"actor": "ada", "event": "scale", "model": "ranker", "to": 3}


def test_facts_may_name_another_actor(tmp_path: Path) -> None:
    append_event(tmp_path, "ramp", actor="marloft serve")
    (line,) = lines(tmp_path)
    assert line["actor"] == "marloft serve"


def test_events_are_kept_in_order(tmp_path: Path) -> None:
    for number in range(3):
        append_event(tmp_path, "routes", number=number)
    assert [line["number"] for line in lines(tmp_path)] == [0, 1, 2]


def test_lines_of_several_writers_stay_whole(tmp_path: Path) -> None:
    def write(writer: int) -> None:
        for number in range(50):
            append_event(tmp_path, "e", writer=writer, number=number, why="x" * 500)

    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    found = [(line["writer"], line["number"]) for line in lines(tmp_path)]
    assert sorted(found) == [(writer, number) for writer in range(4) for number in range(50)]


def test_line_that_cannot_be_written_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "events.jsonl").mkdir()
    append_event(tmp_path, "routes")
    (record,) = caplog.records
    assert record.getMessage().startswith("routes is not recorded in events.jsonl: ")
    assert record.levelname == "WARNING"


def test_file_that_is_too_long_is_kept_once_and_a_new_one_begun(tmp_path: Path) -> None:
    append_event(tmp_path, "first")
    rotate_events(tmp_path, most_bytes=1000)
    assert [line["event"] for line in lines(tmp_path)] == ["first"]
    rotate_events(tmp_path, most_bytes=10)
    append_event(tmp_path, "second")
    assert [line["event"] for line in lines(tmp_path)] == ["second"]
    older = events_path(tmp_path).with_name("events.jsonl.1")
    assert older.read_bytes().count(b"first") == 1
    rotate_events(tmp_path, most_bytes=10)
    assert older.read_bytes().count(b"second") == 1


def test_file_that_takes_no_line_is_found_out_before_one_comes(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").mkdir()
    with pytest.raises(IsADirectoryError):
        rotate_events(tmp_path)
