"""`marloft log` and `marloft trace`: readable lines, JSON for programs, and honest exit codes."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet
import pytest
from typer.testing import CliRunner, Result

from marloft.cli import app
from marloft.errors import ConfigError
from tests.unit.logs import typed
from tests.unit.logs.test_read import outcome, prediction
from tests.unit.logs.test_trace import ARM, VERSION, served
from tests.unit.logs.world import close, write_release, write_segment


@pytest.fixture
def var(tmp_path: Path) -> Path:
    write_release(tmp_path)
    times = [f"2026-01-01T00:00:0{n}.000+00:00" for n in range(3)]
    records = [served("a", time=times[0]), prediction("b", time=times[1], version="3.0")]
    records.append(prediction("c", time=times[2], status=500, error="KeyError: 'x'"))
    write_segment(tmp_path, "predictions", records)
    write_segment(tmp_path, "outcomes", [outcome("a", 3, value=1.5)])
    return tmp_path


def run(var: Path, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--var", str(var)])


def test_tail_prints_one_readable_line_per_record(var: Path) -> None:
    lines = run(var, "log", "tail").stdout.splitlines()
    assert lines[0] == (
        f"2026-01-01T00:00:00.000Z  200  ranker {VERSION}  2.5 ms  user 7  feed_ab/{ARM}  a"
    )
    assert lines[2].endswith("c  error: KeyError: 'x'")
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        (["-n", "1"], ["c"]),
        (["--version", "3.0"], ["b"]),
        (["--version", "v3.0"], ["b"]),
        (["--status", "500"], ["c"]),
        (["--status", "500", "--version", "3.0"], []),
    ],
)
def test_tail_shows_what_is_asked_for(var: Path, options: list[str], ids: list[str]) -> None:
    lines = run(var, "log", "tail", "--json", *options).stdout.splitlines()
    assert [json.loads(line)["request_id"] for line in lines] == ids


def test_tail_shows_outcomes(var: Path) -> None:
    text = run(var, "log", "tail", "outcomes").stdout
    assert text == "2026-01-01T00:00:01.000000Z  click  item 3  value 1.5  a\n"


def test_declared_answers_are_told_by_their_type(tmp_path: Path) -> None:
    write_segment(tmp_path, "predictions", typed.records())
    lines = run(tmp_path, "log", "tail", "-n", "20").stdout.splitlines()
    told = {line.split("  ")[5]: line.split("  ")[6:] for line in lines}
    assert told["one-number"] == ["regression: 2.5 (1 to 3)"]
    assert told["vectors"] == ["embedding of 2"]
    assert told["undeclared"] == []


def test_outcomes_of_whole_answers_and_labels_are_shown(tmp_path: Path) -> None:
    write_segment(tmp_path, "predictions", typed.records())
    told = [("one-grade", None, "good"), ("grades", 1, True), ("grades", 7, "bad")]
    labels = [outcome(name, item, event="label", value=value) for name, item, value in told]
    write_segment(tmp_path, "outcomes", labels)
    lines = run(tmp_path, "log", "tail", "outcomes").stdout.splitlines()
    assert {line.split("  ", 2)[2] for line in lines} == {
        "the whole answer  value good  one-grade",
        "item 1  value true  grades",
        "item 7  value bad  grades",
    }
    whole = run(tmp_path, "trace", "one-grade").stdout.splitlines()
    assert "answer     classification: good (0.7)" in whole
    assert any(line.endswith("label  the whole answer  value good  position 1") for line in whole)
    rows = run(tmp_path, "trace", "grades").stdout
    assert "label  row 1  value true  position 2" in rows
    assert "label  row 7  value bad  not in the answer" in rows
    found = json.loads(run(tmp_path, "trace", "grades", "--json").stdout)
    assert (found["response"], found["entries"]) == ("classification", 4)


def test_tail_prints_lines_as_they_stand(var: Path) -> None:
    (segment,) = (var / "log" / "predictions").glob("*.jsonl")
    assert run(var, "log", "tail", "--json").stdout == segment.read_text()


@pytest.mark.slow
def test_tail_follows_until_it_is_interrupted(var: Path, tmp_path: Path) -> None:
    program = str(Path(sys.executable).with_name("marloft"))
    command = [program, "log", "tail", "-n", "0", "--follow", "--var", str(var)]
    shown = tmp_path / "shown.txt"
    with shown.open("w") as stream:
        child = subprocess.Popen(command, stdout=stream)
        try:
            deadline = time.monotonic() + 20
            number = 0
            while not shown.read_text() and time.monotonic() < deadline:
                number += 1
                write_segment(var, "predictions", [prediction(f"new-{number}")], pid=number + 50)
                time.sleep(0.3)
            child.send_signal(signal.SIGINT)
            assert child.wait(10) == 0
        finally:
            child.kill()
            child.wait()
    assert "new-" in shown.read_text()


def test_unknown_kind_is_a_users_mistake(var: Path) -> None:
    assert isinstance(run(var, "log", "tail", "answers").exception, ConfigError)
    assert isinstance(
        run(var, "log", "export", "x.parquet", "--kind", "all").exception, ConfigError
    )
    assert isinstance(run(var, "log", "tail", "outcomes", "--status", "1").exception, ConfigError)
    bad_time = run(var, "log", "export", "x.parquet", "--since", "yesterday")
    assert isinstance(bad_time.exception, ConfigError)


def test_export_says_how_many_rows(var: Path) -> None:
    out = var / "out.parquet"
    done = run(var, "log", "export", str(out), "--since", "2026-01-01T00:00:01Z")
    assert done.stdout == f"{out}: 2 rows.\n"
    assert pyarrow.parquet.read_metadata(out).num_rows == 2
    joined = run(var, "log", "export", str(out), "--kind", "joined")
    assert joined.stdout == f"{out}: 1 rows.\n"


def test_stat_counts_for_people_and_for_programs(var: Path) -> None:
    text = run(var, "log", "stat").stdout
    assert text.startswith("predictions: 3 records, 1 open and 0 closed segments, 0.0 MiB\n")
    assert "  ranker 3.0: 1 requests, 1 answered with 200\n" in text
    found = json.loads(run(var, "log", "stat", "--json").stdout)
    assert [each["records"] for each in found["logs"]] == [3, 1]


def test_stat_check_ends_with_1_when_a_closed_segment_was_changed(var: Path) -> None:
    (segment,) = (var / "log" / "predictions").glob("*.jsonl")
    close(segment)
    right = run(var, "log", "stat", "--check")
    assert (right.exit_code, right.stdout.splitlines()[-1]) == (
        0,
        "1 closed segments are what they were when they were closed",
    )
    segment.write_bytes(segment.read_bytes().replace(b"200", b"500"))
    assert run(var, "log", "stat").exit_code == 0
    changed = run(var, "log", "stat", "--check")
    assert changed.exit_code == 1
    assert f"{segment}: SHA-256" in changed.stdout
    found = run(var, "log", "stat", "--check", "--json")
    assert (found.exit_code, len(json.loads(found.stdout)["mismatches"])) == (1, 1)


def test_trace_prints_every_hop(var: Path) -> None:
    done = run(var, "trace", "a")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert f"arm        {ARM} meant, {ARM} served" in lines
    assert f"version    {VERSION} meant, {VERSION} served" in lines
    assert any(line.endswith("the release's") and "not the" not in line for line in lines)
    assert any("worker host:7  ms: queue 0.5, predict 0.25, total 2.5" in line for line in lines)
    assert lines[-1] == "outcome    2026-01-01T00:00:01.000000Z  click  item 3  position 2"


@pytest.mark.parametrize(
    ("request_id", "said"), [("b", "no release in the record"), ("x", "no prediction record")]
)
def test_trace_ends_with_1_and_names_the_missing_hop(var: Path, request_id: str, said: str) -> None:
    done = run(var, "trace", request_id)
    assert done.exit_code == 1
    assert f"missing    {said}" in done.stdout
    as_json = run(var, "trace", request_id, "--json")
    assert as_json.exit_code == 1
    assert json.loads(as_json.stdout)["missing"][0].startswith(said)
