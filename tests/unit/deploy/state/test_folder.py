"""The state folder is tried before it is needed, and is its owner's alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from marloft.deploy.faults import Faults
from marloft.deploy.running import exclusive
from marloft.deploy.state.folder import StateFolder


@pytest.fixture
def faults() -> Faults:
    return Faults(lambda _: None)


@pytest.fixture(autouse=True)
def held(tmp_path: Path) -> Iterator[None]:
    """The lock of a `marloft serve` at port 1."""
    with exclusive(tmp_path, 1):
        yield


def test_folder_that_takes_writes_is_left_as_it_is(tmp_path: Path, faults: Faults) -> None:
    (tmp_path / "log" / "predictions").mkdir(parents=True)
    StateFolder(tmp_path, 1, faults).check()
    assert faults.current == {}
    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "events.jsonl",
        "lock",
        "log",
        "predictions",
    ]


def test_folder_that_takes_none_is_a_fault_until_it_does(tmp_path: Path, faults: Faults) -> None:
    state = StateFolder(tmp_path, 1, faults)
    (tmp_path / "run").touch()
    (tmp_path / "events.jsonl").mkdir()
    state.check()
    assert set(faults.current) == {"the folder of run-time state", "events.jsonl"}
    (tmp_path / "run").unlink()
    (tmp_path / "events.jsonl").rmdir()
    state.check()
    # What is not there yet is made by who needs it.
    (tmp_path / "run").mkdir()
    state.check()
    assert faults.current == {}


def test_temporary_folder_is_tried_too(
    tmp_path: Path, faults: Faults, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path / "gone"))
    StateFolder(tmp_path, 1, faults).check()
    assert set(faults.current) == {"the temporary folder"}


def test_state_folder_that_is_gone_is_a_fault(tmp_path: Path, faults: Faults) -> None:
    StateFolder(tmp_path / "gone", 1, faults).check()
    assert "No such file" in faults.current["the state folder"]
