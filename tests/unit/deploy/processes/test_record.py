"""A record names a process that runs, or nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from marloft.deploy.processes.record import ProcessRecord, RecordFile, record_of

FOUND = ProcessRecord(pid=7, created=1.0, fingerprint="f", folder="/tmp/a")


def test_record_is_of_a_process_that_runs(tmp_path: Path) -> None:
    found = record_of(os.getpid(), "print", tmp_path)
    assert found is not None
    assert (found.fingerprint, found.folder) == ("print", str(tmp_path))
    process = found.process()
    assert process is not None and process.pid == os.getpid()
    assert replace(found, created=found.created - 1).process() is None, "another one's pid by now"


def test_ended_process_has_none() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert record_of(child.pid, "", None) is None


def test_file_says_what_was_kept(tmp_path: Path) -> None:
    file = RecordFile(tmp_path / "run" / "a.json")
    assert file.read() is None
    file.keep(FOUND)
    before = (tmp_path / "run" / "a.json").stat().st_ino
    file.keep(FOUND)
    assert (tmp_path / "run" / "a.json").stat().st_ino == before
    assert file.read() == FOUND
    file.forget()
    assert file.read() is None


@pytest.mark.parametrize("text", ["", "{", '{"pid": "x"}'])
def test_damaged_file_says_nothing_and_is_removed(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    assert RecordFile(path).read() is None
    assert not path.exists()


def test_folder_in_its_place_says_nothing(tmp_path: Path) -> None:
    assert RecordFile(tmp_path).read() is None
    assert tmp_path.exists()


def test_without_a_path_there_is_no_file() -> None:
    file = RecordFile(None)
    file.keep(FOUND)
    assert file.read() is None
    file.forget()
