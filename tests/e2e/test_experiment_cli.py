"""`marloft experiment` as a user runs it: assign, size, design, analyze."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from marloft.assignment import arm_of, bucket
from marloft.experiment.design import allocation_of, read_experiment
from marloft.experiment.simulate import Truth, World, write_logs, write_release

pytestmark = pytest.mark.e2e
FILE = Path(__file__).parents[2] / "workflows/feed_ab/experiment.yaml"
EXPERIMENT = read_experiment(FILE)


def marloft(*arguments: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    code = "from marloft.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "experiment", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "COLUMNS": "100"},
    )


@pytest.fixture(scope="module")
def var(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("var")
    truths = [
        Truth(ctr=0.6, model_ms=1.0, latency_ms=4.0),
        Truth(ctr=0.6, model_ms=0.5, latency_ms=3.6),
    ]
    write_release(EXPERIMENT, folder)
    write_logs(EXPERIMENT, World(users=1_000, requests_per_user=2, truths=truths), folder)
    return folder


def test_assign_prints_unit_bucket_arm_for_each_line(tmp_path: Path) -> None:
    units = ["1", "42", "user-7", "0007", *map(str, range(1_000, 1_200))]
    (tmp_path / "units.txt").write_text("\n".join(units) + "\n")
    done = marloft("assign", FILE, "--units", tmp_path / "units.txt")
    assert (done.returncode, done.stderr) == (0, "")
    rows = list(csv.reader(done.stdout.splitlines()))
    split = allocation_of(EXPERIMENT)
    expected = [[unit, str(bucket("feed_ab", unit, 100)), arm_of(split, unit)] for unit in units]
    assert rows == [["unit", "bucket", "arm"], *expected]


def test_assign_refuses_a_line_that_is_no_user_id() -> None:
    done = marloft("assign", FILE, "--units", "-", stdin="1\nno spaces\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert "-:2: 'no spaces' is not a user id" in done.stderr


def test_size_needs_one_baseline_and_takes_the_log(var: Path) -> None:
    refused = marloft("size", FILE)
    assert refused.returncode == 2
    assert "give --var FOLDER or --ctr NUMBER" in refused.stderr
    done = marloft("size", FILE, "--var", var, "--json")
    assert done.returncode == 0, done.stderr
    assert 50 < json.loads(done.stdout)["size"]["users_per_arm"] < 1_000
    assert marloft("size", FILE, "--ctr", "0.6", "--design-effect", "2").returncode == 0


def test_design_writes_the_document(tmp_path: Path) -> None:
    done = marloft("design", FILE, "--out", tmp_path / "experiment_design.md")
    assert done.returncode == 0, done.stderr
    assert EXPERIMENT.hypothesis in (tmp_path / "experiment_design.md").read_text()


def test_analyze_decides_and_writes_the_report(var: Path, tmp_path: Path) -> None:
    done = marloft("analyze", FILE, "--var", var, "--out", tmp_path, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["decision"] == "ship"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "report.html",
        "report.json",
        "report.md",
    ]


def test_analyze_names_the_failed_check_and_ends_with_2(var: Path, tmp_path: Path) -> None:
    edited = tmp_path / "experiment.yaml"
    edited.write_text(FILE.read_text().replace("salt: feed_ab", "salt: other"))
    done = marloft("analyze", edited, "--var", var, "--out", tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("refused: design: release 1: ")
    assert "decision: refused" in done.stdout


def test_analyze_without_logs_says_which_folder(tmp_path: Path) -> None:
    done = marloft("analyze", FILE, "--var", tmp_path / "nowhere")
    assert done.returncode == 2
    assert "nowhere holds no log/ folder" in done.stderr
