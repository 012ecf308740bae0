"""`marloft log forget`: what is gone, what is left, and that the act is on record."""

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner, Result

from marloft.cli import app
from marloft.errors import DataError
from marloft.serving.segments import create_segment
from tests.unit.logs.test_read import outcome, prediction
from tests.unit.logs.world import close, write_segment


@pytest.fixture
def var(tmp_path: Path) -> Path:
    records = [prediction("a", user_id="reader-7"), prediction("b", user_id="8")]
    close(write_segment(tmp_path, "predictions", records))
    close(write_segment(tmp_path, "outcomes", [outcome("a", 3), outcome("a", 4), outcome("b", 3)]))
    return tmp_path


def run(var: Path, *words: str, user: str = "reader-7") -> Result:
    return CliRunner().invoke(app, ["log", "forget", "--user", user, *words, "--var", str(var)])


def events(var: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (var / "events.jsonl").read_text().splitlines()]


def test_what_is_gone_is_said_and_on_record_without_the_person(var: Path) -> None:
    done = run(var)
    assert done.exit_code == 0
    assert "1 predictions and 2 outcomes of user reader-7 are removed" in done.stdout
    asked, forgotten = events(var)
    assert (asked["event"], forgotten["event"]) == ("log forget", "log forgotten")
    assert asked["person"] == forgotten["person"]
    assert [each["records"] for each in forgotten["segments"]] == [2, 1]
    for each in forgotten["segments"]:
        assert (var / each["segment"]).is_file()
        assert each["sha256_before"] != each["sha256_after"]
    assert "reader-7" not in (var / "events.jsonl").read_text()


def test_second_request_of_the_same_person_is_recognised(var: Path) -> None:
    run(var)
    assert "0 predictions and 0 outcomes" in run(var).stdout
    run(var, user="8")
    people = [each["person"] for each in events(var)]
    assert people[0] == people[2] != people[4]


def test_dry_run_counts_and_leaves_everything(var: Path) -> None:
    before = {path: path.read_bytes() for path in var.rglob("*") if path.is_file()}
    assert "3 records of user reader-7 would be removed" in run(var, "--dry-run").stdout
    assert {path: path.read_bytes() for path in var.rglob("*") if path.is_file()} == before


def test_what_is_left_is_said_with_exit_code_1(var: Path) -> None:
    path, file = create_segment(var / "log" / "predictions")
    os.write(file, msgspec.json.encode(prediction("c", user_id="reader-7")) + b"\n")
    done = run(var, "--wait-s", "0")
    os.close(file)
    assert done.exit_code == 1
    assert f"not removed: {path} is still written to by process {os.getpid()}" in done.stdout
    assert events(var)[1]["still_open"] == [str(path.relative_to(var))]
    assert "1 predictions and 0 outcomes" in run(var).stdout


def test_stat_says_how_many_were_forgotten(var: Path) -> None:
    run(var)
    shown = CliRunner().invoke(app, ["log", "stat", "--check", "--var", str(var)]).stdout
    assert "2 closed segments are what they were" in shown
    assert "1 more were forgotten" in shown
    assert "2 more were forgotten" in shown


def test_mistaken_folder_is_refused_and_left_empty(tmp_path: Path) -> None:
    assert isinstance(run(tmp_path / "vra").exception, DataError)
    assert not (tmp_path / "vra").exists()
