"""Nothing of a forgotten person stays in the log, and everything of everybody else."""

import fcntl
import os
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marloft.contract.records import PREDICTIONS_FOLDER
from marloft.contract.segments import (
    footer_path,
    roll_path,
    segments,
    torn_path,
    unfinished_path,
)
from marloft.errors import DataError
from marloft.logs.forget import Forgot, count, forget
from marloft.logs.read import open_log
from marloft.logs.stat import mismatches, stat
from marloft.serving.log import RecordLog
from marloft.serving.segments import create_segment
from tests.unit.logs.test_read import outcome, prediction
from tests.unit.logs.world import close, write_segment
from tests.unit.serving.writing import prediction as written

USERS = st.sampled_from(["7", "77", "8", "a:7", None])


@st.composite
def logs(draw: st.DrawFn) -> dict[str, list[list[dict[str, Any]]]]:
    """Segments of predictions and outcomes; of a request there may be several attempts."""
    users = draw(st.lists(USERS, min_size=1, max_size=12))
    answers = [
        prediction(f"r{n}", user_id=user, attempt=attempt, features=[{"of": f"secret-{user}"}])
        for n, user in enumerate(users)
        for attempt in range(1, 1 + draw(st.integers(1, 2)))
    ]
    clicks = [
        outcome(f"r{n}", item, value=n)
        for n in range(len(users))
        for item in range(draw(st.integers(0, 2)))
    ]
    kinds = {"predictions": answers, "outcomes": clicks}
    return {kind: _split(draw, draw(st.permutations(records))) for kind, records in kinds.items()}


def _split(draw: st.DrawFn, records: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    place = draw(st.integers(0, len(records)))
    return [records[:place], records[place:]]


def put(var: Path, world: dict[str, list[list[dict[str, Any]]]]) -> None:
    for kind, parts in world.items():
        for pid, part in enumerate(parts, start=7):
            close(write_segment(var, kind, part, pid=pid))


def lines(var: Path) -> dict[Path, list[bytes]]:
    folder = var / "log"
    return {path: path.read_bytes().splitlines() for path in sorted(folder.rglob("*.jsonl"))}


def whose(line: bytes) -> tuple[str | None, str]:
    record = msgspec.json.decode(line)
    return record.get("user_id"), record["request_id"]


@given(world=logs())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_only_the_persons_records_go(
    world: dict[str, list[list[dict[str, Any]]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    var = tmp_path_factory.mktemp("var")
    put(var, world)
    before = lines(var)
    every = [line for each in before.values() for line in each]
    requests = {whose(line)[1] for line in every if whose(line)[0] == "7"}
    expected = {
        path: [line for line in each if whose(line)[1] not in requests]
        for path, each in before.items()
    }
    would = count(var, "7")
    done = forget(var, "7")
    assert lines(var) == expected
    assert {each.segment: each.records for each in done.segments} == would
    assert sum(would.values()) == len(every) - sum(map(len, expected.values()))
    assert mismatches(var) == []
    assert sum(each.forgotten for each in stat(var)) == sum(would.values())
    left = b"".join(path.read_bytes() for path in (var / "log").rglob("*") if path.is_file())
    assert b'"secret-7"' not in left
    assert forget(var, "7") == Forgot(segments=[], torn=[], untouched=[], still_open=[])


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Of 7 and 8: two segments of predictions, one of outcomes, a line cut short."""
    first = [prediction("a", user_id="7"), prediction("b", user_id="8")]
    tail = '{"schema":1,"request_id":"d","attempt":1,"user_id":"7","features":[{"ite'
    close(write_segment(tmp_path, "predictions", first, pid=7, tail=tail))
    second = [prediction("c", user_id="7"), prediction("b", user_id="8", attempt=2)]
    close(write_segment(tmp_path, "predictions", second, pid=8))
    close(write_segment(tmp_path, "outcomes", [outcome(each, 3) for each in "abc"]))
    return tmp_path


def everything(var: Path) -> dict[Path, bytes]:
    files = [path for path in (var / "log").rglob("*") if path.is_file()]
    return {path: path.read_bytes() for path in files if not path.name.endswith("json")}


@pytest.mark.parametrize("steps", range(1, 20))
def test_crash_at_any_step_is_finished_by_the_next_run(world: Path, steps: int) -> None:
    """Steps are renames: of footers, of segments and of what was cut short."""
    renames, replace = 0, Path.replace

    def dies(self: Path, target: Path) -> Path:
        nonlocal renames
        renames += 1
        if renames == steps:
            raise Killed
        return replace(self, target)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Path, "replace", dies)
        try:
            forget(world, "7")
        except Killed:
            assert mismatches(world) == []
        else:
            assert steps > 10
    forget(world, "7")
    left = everything(world)
    assert not any(b'"7"' in content for content in left.values())
    assert b"".join(left.values()).count(b'"request_id": "b"') == 3
    assert mismatches(world) == []
    assert sum(each.forgotten for each in stat(world)) == 4


def test_torn_file_is_emptied_and_still_counted(world: Path) -> None:
    torn = [each.torn_lines for each in stat(world)]
    (emptied,) = forget(world, "7").torn
    assert emptied.read_bytes() == b""
    assert [each.torn_lines for each in stat(world)] == torn == [1, 0]


@pytest.mark.parametrize(
    ("cut", "goes"),
    [
        (b'{"request_id":"x","user_id":"7","feat', True),
        (b'{"request_id":"x","user_id":"7', True),
        (b'{"request_id":"x","user_id":"', True),
        (b'{"request_id":"x","user_id":7', True),
        (b'{"request_id":"x","user_id":"77","feat', False),
        (b'{"request_id":"x","user_id":"77', False),
        (b'{"request_id":"a","status":2', True),
        (b'{"request_id":"x","status":2', False),
        (b'{"schema":1,"ti', False),
        (b"\xff\xfe", False),
    ],
)
def test_line_that_was_cut_short_goes_when_it_may_be_theirs(
    world: Path, cut: bytes, goes: bool
) -> None:
    (segment, _) = segments(world / PREDICTIONS_FOLDER)
    torn_path(segment).write_bytes(cut)
    assert (forget(world, "7").torn == [torn_path(segment)]) is goes
    assert torn_path(segment).read_bytes() == (b"" if goes else cut)


def test_what_a_killed_writer_was_moving_goes_too(world: Path) -> None:
    folder = world / PREDICTIONS_FOLDER
    moving = folder / ".x.jsonl.torn.a1b2c3"
    moving.write_bytes(b'{"request_id":"x","user_id":"7","feat')
    forget(world, "7")
    assert not moving.exists()


def test_copy_that_an_earlier_run_left_is_deleted(world: Path) -> None:
    (first, _) = segments(world / PREDICTIONS_FOLDER)
    unfinished_path(first).write_bytes(first.read_bytes())
    forget(world, "nobody")
    assert not unfinished_path(first).exists()


def test_user_is_one_as_number_and_as_text(tmp_path: Path) -> None:
    records = [prediction("a", user_id=7), prediction("b", user_id="07")]
    close(write_segment(tmp_path, "predictions", records))
    assert sum(each.records for each in forget(tmp_path, "7").segments) == 1


def test_outcome_of_an_id_that_somebody_else_has_too_stays(tmp_path: Path) -> None:
    both = [prediction("a", user_id="7"), prediction("a", user_id="8")]
    close(write_segment(tmp_path, "predictions", both))
    close(write_segment(tmp_path, "outcomes", [outcome("a", 3)]))
    done = forget(tmp_path, "7")
    assert done.records(tmp_path / "log" / "predictions") == 1
    assert done.records(tmp_path / "log" / "outcomes") == 0


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[RecordLog]:
    """A living worker's log."""
    log = RecordLog(tmp_path / PREDICTIONS_FOLDER)
    yield log
    log.close()


def test_living_writer_closes_its_segment_and_goes_on(writer: RecordLog, tmp_path: Path) -> None:
    writer.append([written("a")])
    first = writer.path
    done = forget(tmp_path, "7")
    assert [each.segment for each in done.segments] == [first]
    assert done.still_open == []
    writer.append([written("b")])
    assert writer.path != first
    with open_log(tmp_path) as log:
        assert log.connection.execute("SELECT request_id FROM predictions").fetchall() == [("b",)]


def test_writer_of_an_empty_segment_is_not_waited_for(writer: RecordLog, tmp_path: Path) -> None:
    assert forget(tmp_path, "7", wait_s=0).still_open == []
    assert not footer_path(writer.path).exists()


def test_writer_that_does_not_listen_is_named_and_the_rest_is_done(world: Path) -> None:
    path, file = create_segment(world / PREDICTIONS_FOLDER)
    os.write(file, msgspec.json.encode(prediction("z", user_id="7")) + b"\n")
    try:
        done = forget(world, "7", wait_s=0)
    finally:
        os.close(file)
    assert done.still_open == [path]
    assert sum(each.records for each in done.segments) == 4
    assert sum(each.records for each in forget(world, "7").segments) == 1


def test_predictions_wait_for_the_outcomes_that_only_they_explain(world: Path) -> None:
    path, file = create_segment(world / "log" / "outcomes")
    os.write(file, msgspec.json.encode(outcome("a", 4)) + b"\n")
    try:
        assert forget(world, "7", wait_s=0).records(world / PREDICTIONS_FOLDER) == 0
    finally:
        os.close(file)
    assert forget(world, "7").records(world / PREDICTIONS_FOLDER) == 2
    assert path.read_bytes() == b""


def test_changed_segment_is_named_and_left(world: Path) -> None:
    (first, second) = segments(world / PREDICTIONS_FOLDER)
    first.write_bytes(first.read_bytes().replace(b"[4, 3]", b"[3, 4]"))
    before = first.read_bytes()
    done = forget(world, "7")
    (complaint,) = done.untouched
    assert str(first) in complaint
    assert first.read_bytes() == before
    assert b'"7"' not in second.read_bytes()


def test_full_disk_is_told_and_changes_nothing(world: Path) -> None:
    before = everything(world)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        done = forget(world, "7")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "File too large" in done.untouched[0]
    assert everything(world) == before | {roll_path(world / PREDICTIONS_FOLDER): b""}
    assert mismatches(world) == []
    assert sum(each.records for each in forget(world, "7").segments) == 4


def test_only_one_forgets_at_a_time(world: Path) -> None:
    with roll_path(world / PREDICTIONS_FOLDER).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="another `marloft log forget` runs"):
            forget(world, "7")


@pytest.mark.parametrize("user", ["", "a b", "x" * 129, "ü"])
def test_user_that_nobody_can_be_is_refused(world: Path, user: str) -> None:
    with pytest.raises(DataError, match="--user is"):
        forget(world, user)


def test_folder_without_a_log_is_refused_and_stays_empty(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="check --var"):
        forget(tmp_path, "7")
    assert list(tmp_path.iterdir()) == []


def test_readers_meanwhile_see_a_whole_log(tmp_path: Path) -> None:
    for pid in range(6):
        records = [prediction(f"r{pid}-{n}", user_id=str(n % 7)) for n in range(200)]
        close(write_segment(tmp_path, "predictions", records, pid=pid))
    kept, errors, stop = 6 * 200, [], threading.Event()

    def read() -> None:
        while not stop.is_set():
            try:
                with open_log(tmp_path) as log:
                    query = "SELECT count(*) FROM predictions WHERE user_id = '0'"
                    assert log.connection.execute(query).fetchall() == [(6 * 29,)]
                assert mismatches(tmp_path) == []
            except BaseException as error:  # noqa: BLE001 - shown by the test
                errors.append(error)
                return

    reader = threading.Thread(target=read)
    reader.start()
    for user in range(1, 7):
        kept -= sum(each.records for each in forget(tmp_path, str(user)).segments)
        time.sleep(0.05)
    stop.set()
    reader.join()
    assert errors == []
    assert kept == 6 * 29


def test_what_retention_deletes_meanwhile_is_forgotten_too(
    world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def then_gone(folder: Path) -> list[Path]:
        paths = segments(folder)
        if folder.name == "predictions" and len(paths) == 2:
            paths[0].unlink()
        return paths

    monkeypatch.setattr("marloft.logs.forget.segments", then_gone)
    done = forget(world, "7")
    assert done.untouched == []
