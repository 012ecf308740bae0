"""The logs: whole lines or an error, written as the newest release's policy says."""

import json
import logging
import subprocess
import sys
import time
from pathlib import Path

import pytest

from marloft.contract.policy import LogPolicy
from marloft.contract.records import OutcomeRecord
from marloft.contract.segments import footer_path
from marloft.serving.log import FollowedPolicy, RecordLog, var_folder
from tests.file_modes import open_to_others, umask
from tests.unit.serving.writing import release


class Clock:
    now_s = 100.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("marloft.serving.log.time", clock)
    return clock


def _record(item: int) -> OutcomeRecord:
    return OutcomeRecord(time="t", request_id="r", item_id=item, event="click", value=None)


def test_records_are_lines_of_a_segment_of_their_own(tmp_path: Path) -> None:
    first, second = RecordLog(tmp_path / "log"), RecordLog(tmp_path / "log")
    first.append([_record(1), _record(2)])
    first.append([])
    second.append([_record(3)])
    first.close()
    second.close()
    assert first.path != second.path
    assert [json.loads(x)["item_id"] for x in first.path.read_text().splitlines()] == [1, 2]


def test_log_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    with umask(0):
        log = RecordLog(tmp_path / "state" / "log" / "predictions")
        log.append([_record(1)])
        log.close()
    assert footer_path(log.path).exists()
    assert open_to_others(tmp_path / "state") == []


def test_log_of_an_earlier_version_is_closed_to_others(tmp_path: Path) -> None:
    folder = tmp_path / "predictions"
    folder.mkdir(mode=0o755)
    earlier = folder / "20260101T000000000000-host-7.jsonl"
    earlier.write_bytes(b"")
    earlier.chmod(0o644)
    RecordLog(folder).close()
    assert open_to_others(folder) == []


def test_log_that_is_asked_goes_on_in_a_new_segment(tmp_path: Path) -> None:
    log = RecordLog(tmp_path / "log" / "predictions")
    first = log.path
    log.append([_record(1)])
    (tmp_path / "log" / "roll").write_text("now")
    deadline = time.monotonic() + 20
    while not footer_path(first).exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    log.append([_record(2)])
    log.close()
    assert (first.read_text().count("\n"), log.path.read_text().count("\n")) == (1, 1)


_FULL_DISK = """
import resource, sys
from pathlib import Path
from marloft.contract.records import OutcomeRecord
from marloft.serving.log import RecordLog
record = OutcomeRecord(time="t", request_id="r", item_id=1, event="click", value=None)
log = RecordLog(Path(sys.argv[1]))
log.append([record])
size = log.path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (2 * size + 10, resource.RLIM_INFINITY))
try:
    log.append([record] * 3)
except OSError as error:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    log.append([record])
    sys.exit(f"{error.strerror}; {log.path.read_bytes().count(bytes([10]))} lines")
"""


def test_write_cut_short_is_an_error_and_leaves_no_torn_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FULL_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "of" in done.stderr and done.stderr.startswith("wrote ")
    assert done.stderr.endswith("; 2 lines\n")
    (segment,) = tmp_path.glob("*.jsonl")
    assert all(json.loads(line) for line in segment.read_text().splitlines())


def test_state_folder_is_the_named_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARLOFT_VAR", "/somewhere/var")
    assert var_folder() == Path("/somewhere/var")


def test_state_folder_without_a_name_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("MARLOFT_VAR", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    with caplog.at_level(logging.WARNING):
        assert var_folder() == Path("/state/marloft")
    assert "MARLOFT_VAR is not set: logs go to /state/marloft" in caplog.text


def test_policy_without_releases_is_the_default(tmp_path: Path) -> None:
    assert FollowedPolicy(tmp_path)() == LogPolicy()


def test_policy_is_the_newest_releases_within_a_second(tmp_path: Path, clock: Clock) -> None:
    release(tmp_path, 1, segment_mb=2)
    policy = FollowedPolicy(tmp_path)
    assert policy().segment_mb == 2
    for number in (2, 3):
        release(tmp_path, number, segment_mb=2 + number)
    clock.now_s += 0.9
    assert policy().segment_mb == 2
    clock.now_s += 0.2
    assert policy().segment_mb == 5


def test_first_release_is_seen_by_a_worker_that_started_without_one(
    tmp_path: Path, clock: Clock
) -> None:
    policy = FollowedPolicy(tmp_path)
    assert policy().fsync == "never"
    release(tmp_path, 1, fsync="batch")
    clock.now_s += 1.1
    assert policy().fsync == "batch"


def test_damaged_release_leaves_the_policy_before_and_is_said_once(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    release(tmp_path, 1, segment_mb=2)
    policy = FollowedPolicy(tmp_path)
    policy()
    (tmp_path / "releases" / "000002.json").write_text("{")
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            clock.now_s += 1.1
            assert policy().segment_mb == 2
    assert caplog.text.count("Release 2 cannot be read") == 1
