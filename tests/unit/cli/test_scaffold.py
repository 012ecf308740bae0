"""`marloft new` and `marloft adopt`: what was written, and what to run next."""

import json
import zipfile
from pathlib import Path

import pytest

from tests.unit.cli.running import Marloft


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_new_project_is_listed_with_the_next_commands(folder: Path, marloft: Marloft) -> None:
    lines = marloft("new", "churn").splitlines()
    blank = lines.index("")
    assert [line for line in lines[:blank] if not (folder / line).is_file()] == []
    assert lines[blank + 1 :] == [
        "Next, in churn/:",
        "  python train.py",
        "  marloft pack archive_configs/churn.yaml archive_configs/churn_v2.yaml "
        "archive_configs/outcomes.yaml",
        "  marloft apply",
        "  marloft serve",
    ]


def test_name_that_would_not_work_exits_2(folder: Path, marloft: Marloft) -> None:
    assert "is no model name" in marloft("new", "Churn", code=2)
    assert list(folder.iterdir()) == []


def test_adopted_archive_is_said_with_what_it_lacks(folder: Path, marloft: Marloft) -> None:
    manifest = {"model": {"modelName": "old", "modelVersion": "1.0", "handler": "old.py"}}
    with zipfile.ZipFile(folder / "old.mar", "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
        archive.writestr("old.py", "class Old:\n    pass\n")
    lines = marloft("adopt", "old.mar").splitlines()
    config = lines[0].removeprefix("wrote ")
    assert (folder / config).is_file()
    assert any(line.startswith("missing: ") for line in lines[1:-1])
    assert lines[-1] == f"Next: marloft pack {config}"
