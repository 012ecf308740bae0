"""The prediction log: whole lines or an error, and a place that is said."""

import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from marloft.contract.records import OutcomeRecord
from marloft.serving.log import RecordLog, var_folder


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
