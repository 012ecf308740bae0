"""The checks of the table: green for a whole project, red when a file of a row is broken."""

import shutil
from pathlib import Path

import pytest

from harness.factories import REPOSITORY
from tools.deliverables.checks import run_checks, tally
from tools.deliverables.table import Area, Deliverables, Row, read_deliverables

pytestmark = pytest.mark.slow


def test_a_whole_project_is_green(project: Path) -> None:
    findings = run_checks(read_deliverables(project), project)
    assert [finding.verdict for finding in findings] == ["green", "green", "not_run"]
    assert tally(findings) == "1 done, 1 thin, 1 absent"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [("a.txt", "half\n", "no output"), ("b.txt", "", "missing or empty: b.txt")],
)
def test_breaking_a_file_turns_its_row_red(
    project: Path, name: str, content: str, reason: str
) -> None:
    (project / name).write_text(content)
    findings = run_checks(read_deliverables(project), project)
    (red,) = [finding for finding in findings if finding.verdict == "red"]
    assert (red.row.files, red.reason) == ([name], reason)
    assert tally(findings).endswith("1 absent, 1 red")


def test_breaking_the_configuration_turns_the_real_row_red(tmp_path: Path) -> None:
    row = next(
        row for row in read_deliverables(REPOSITORY).rows if row.name == "stock TorchServe path"
    )
    for name in row.files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    table = Deliverables(areas=[Area(name="one", rows=[row])])
    assert [finding.verdict for finding in run_checks(table, tmp_path)] == ["green"]
    (tmp_path / "config.properties").write_text("# allowed_urls is gone\n")
    assert [finding.verdict for finding in run_checks(table, tmp_path)] == ["red"]


def test_a_test_that_only_skips_proves_nothing(project: Path) -> None:
    (project / "test_skips.py").write_text(
        "import pytest\ndef test_it():\n    pytest.skip('no tool: apt-get install tool')\n"
    )
    row = Row(name="x", files=[], check="pytest -q -rs test_skips.py", target="", state="done")
    table = Deliverables(areas=[Area(name="one", rows=[row])])
    (finding,) = run_checks(table, project)
    assert finding.verdict == "not_run"
    assert finding.reason.endswith("no tool: apt-get install tool")
