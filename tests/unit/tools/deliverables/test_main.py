"""The commands as `make` runs them: the verdict is the exit code."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from marloft.files import write_json
from tools.deliverables.__main__ import app
from tools.deliverables.table import PAGE

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def folder(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(project)
    return project


def test_whole_project_ends_with_0_and_its_tally() -> None:
    done = CliRunner().invoke(app, ["check"])
    assert (done.exit_code, done.output.splitlines()[-1]) == (0, "1 done, 1 thin, 1 absent")


def test_red_row_ends_with_1_and_is_named(folder: Path) -> None:
    (folder / "a.txt").write_text("half\n")
    done = CliRunner().invoke(app, ["check"])
    assert done.exit_code == 1
    assert "RED: One, page: no output\n     $ grep -q whole a.txt" in done.output


def test_page_is_written_beside_the_table(folder: Path) -> None:
    assert CliRunner().invoke(app, ["page"]).exit_code == 0
    assert "| page | [a.txt](../a.txt) |" in (folder / PAGE).read_text()


def test_expected_value_is_printed(folder: Path) -> None:
    write_json(folder / "x.json", {"auc": 0.79})
    done = CliRunner().invoke(app, ["expect", "x.json", "auc", ">=", "0.77"])
    assert (done.exit_code, done.output) == (0, "auc is 0.79\n")
