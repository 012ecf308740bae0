"""Damage to state files: what is truth comes back in the end, the rest is left to the service."""

from pathlib import Path

import pytest

from harness.faults.fault import Fault
from harness.faults.files import file_faults
from harness.ranker_serving import RankerServing
from marloft.files import write_atomic

BEFORE = b'{"some": "state", "that": "is long enough"}'
FORMS = ("other bytes", "cut off", "a folder")


@pytest.fixture
def faults(tmp_path: Path) -> dict[str, Fault]:
    for name in ("releases/000003.json", "run/live.json"):
        write_atomic(tmp_path / "var" / name, BEFORE)
    return {fault.name: fault for fault in file_faults(RankerServing(tmp_path))}


def test_files_that_are_not_there_are_left_out(faults: dict[str, Fault]) -> None:
    assert faults.keys() == {
        f"{n}: {f}" for n in ("newest release", "run/live.json") for f in FORMS
    }


@pytest.mark.parametrize("form", FORMS)
def test_release_is_damaged_and_put_back(
    tmp_path: Path, faults: dict[str, Fault], form: str
) -> None:
    path, fault = tmp_path / "var" / "releases" / "000003.json", faults[f"newest release: {form}"]
    fault.begin()
    assert path.is_dir() if form == "a folder" else path.read_bytes() != BEFORE
    fault.end()
    assert path.read_bytes() == BEFORE
    assert not fault.harmless


def test_what_follows_from_it_is_not_put_back(tmp_path: Path, faults: dict[str, Fault]) -> None:
    path = tmp_path / "var" / "run" / "live.json"
    faults["run/live.json: a folder"].begin()
    assert path.is_dir()
    faults["run/live.json: a folder"].end()
    assert not path.exists()
