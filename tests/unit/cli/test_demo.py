"""`marloft demo`: what it refuses before anything is made. tests/e2e/test_wheel.py runs it."""

from pathlib import Path

import pytest

from tests.unit.cli.running import Marloft


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_unknown_kind_names_the_nearest(folder: Path, marloft: Marloft) -> None:
    assert "Did you mean 'ranking'?" in marloft("demo", "--kind", "rankings", code=2)
    assert list((folder / "marloft-demo").iterdir()) == []


def test_folder_with_files_is_refused(folder: Path, marloft: Marloft) -> None:
    (folder / "mine").mkdir()
    (folder / "mine" / "notes.txt").write_text("mine")
    assert "is not empty" in marloft("demo", "mine", code=2)
    assert [path.name for path in (folder / "mine").iterdir()] == ["notes.txt"]
