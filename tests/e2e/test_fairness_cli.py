"""`marloft fairness audit`, the ranker's audit and `marloft card`, as a user runs them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from harness import factories
from marloft.contract.audit import FairnessReport, summarize
from marloft.fairness.predictions import write_predictions
from marloft.files import read_json, write_json
from marloft.ranker import prepare, synthetic
from tests.doc_commands import read
from tests.labelled_log import write_labelled_log
from tests.unit.fairness.worlds import world

pytestmark = pytest.mark.e2e

AUDIT = """\
name: loans
predictions: predictions.parquet
decision: {score_at_least: 0.5}
sensitive_features: {group: {column: group}}
bootstrap: {repeats: 400}
"""


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(factories.REPOSITORY / "src"), str(factories.REPOSITORY)])
    return subprocess.run(
        [sys.executable, *map(str, command)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "140", "PYTHONPATH": path},
    )


def marloft(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return run("-c", "from marloft.cli import main; main()", *arguments, cwd=cwd)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    table = world(users=400, rows_per_user=8, shifts=(0.0, 0.12))
    write_predictions(tmp_path / "predictions.parquet", table, model_sha256="ab" * 32)
    (tmp_path / "audit.yaml").write_text(AUDIT)
    return tmp_path


@pytest.mark.parametrize(("shift", "verdict"), [(0.0, "pass"), (0.3, "fail")])
def test_log_with_labels_feeds_an_audit(tmp_path: Path, shift: float, verdict: str) -> None:
    """The page's own lines: export, and predictions made of it."""
    write_labelled_log(tmp_path, users=600, shift=shift)
    commands = read("docs/fairness.md")
    at = next(n for n, each in enumerate(commands) if "log export" in each.words)
    export, block = commands[at : at + 2]
    done = marloft(*export.words.split()[1:], cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    code = "\n".join(block.text.splitlines()[1:-1])
    assert run("-c", code, cwd=tmp_path).returncode == 0
    audit = AUDIT.replace("predictions.parquet", "build/predictions.parquet")
    (tmp_path / "audit.yaml").write_text(audit + "threshold: 0.2\n")
    done = marloft("fairness", "audit", "audit.yaml", "--out", "report", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    report = read_json(tmp_path / "report" / "fairness.json", FairnessReport)
    found = summarize(report)["group"]
    assert found["metric"] == "demographic_parity_difference"
    assert found["verdict"] == verdict
    assert report.model_sha256 == "ab" * 32


def test_audit_writes_three_files_beside_the_predictions(folder: Path) -> None:
    done = marloft("fairness", "audit", "audit.yaml", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "demographic parity difference" in done.stdout
    assert "fail" in done.stdout
    assert {f"fairness.{kind}" for kind in ("html", "md", "json")} <= {
        path.name for path in folder.iterdir()
    }
    assert read_json(folder / "fairness.json", FairnessReport).verdict == "fail"


def test_audit_prints_json_for_programs(folder: Path) -> None:
    done = marloft("fairness", "audit", "audit.yaml", "--out", "report", "--json", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (folder / "report" / "fairness.json").read_text()
    assert json.loads(done.stdout)["model_sha256"] == "ab" * 32


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("column: group", "column: groop", "no column 'groop'. Did you mean 'group'?"),
        ("decision:", "decison:", "unknown key 'decison' at $. Did you mean 'decision'?"),
        ("predictions.parquet", "none.parquet", "predictions none.parquet do not exist"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(folder: Path, old: str, new: str, message: str) -> None:
    (folder / "audit.yaml").write_text(AUDIT.replace(old, new))
    done = marloft("fairness", "audit", "audit.yaml", cwd=folder)
    assert done.returncode == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository's recipes over synthetic ratings and the tiny ranker's export."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "training").mkdir()
    for name in ("audit.yaml", "card.yaml", "fairness_audit.py"):
        source = factories.REPOSITORY / "training" / name
        (folder / "training" / name).write_text(source.read_text())
    data, export = folder / "build" / "data", folder / "build" / "export"
    raw = synthetic.generate(synthetic.SyntheticSpec())
    dataset = prepare.prepare(raw, data, name="synthetic", split_seed=2020)
    factories.write_export(export)
    # The tiny model knows three genres only, so it is audited with its own tables.
    (data / prepare.TABLES).write_bytes((export / prepare.TABLES).read_bytes())
    sidecar = json.loads((export / "model.onnx.json").read_text())
    sidecar["parents"] = {prepare.TABLES: dataset.files[prepare.TABLES]}
    write_json(export / "model.onnx.json", sidecar)
    return folder


def test_recipe_scores_with_the_artifact_and_audits_it(project: Path) -> None:
    done = run("training/fairness_audit.py", cwd=project)
    assert done.returncode == 0, done.stderr
    out = project / "build" / "fairness"
    predictions = pl.read_parquet(out / "predictions.parquet")
    assert predictions.columns == ["user_id", "score", "label", "part", "gender", "age"]
    assert set(predictions["part"].unique()) == {"valid", "test"}
    artifact = json.loads((project / "build/export/model.onnx.json").read_text())
    report = read_json(out / "fairness.json", FairnessReport)
    assert report.model_sha256 == artifact["sha256"]
    assert {"threshold", "gender", "age_band", "mitigation"} == set(summarize(report))


def test_recipe_refuses_an_artifact_of_other_data(project: Path, tmp_path: Path) -> None:
    export = factories.write_export(tmp_path / "export")
    done = run(
        *("training/fairness_audit.py", "--artifact", export / "model.onnx", "--out", tmp_path),
        cwd=project,
    )
    assert done.returncode == 2
    assert "was not exported from the data in" in done.stderr


def test_card_of_missing_files_says_which(project: Path) -> None:
    done = marloft("card", "training/card.yaml", cwd=project)
    assert done.returncode == 2
    assert "is no file; make it or correct the path" in done.stderr
