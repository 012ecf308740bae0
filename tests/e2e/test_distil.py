"""A student from a trained teacher, through the recipe as a user runs it."""

import subprocess
import sys
from pathlib import Path

import pytest

from marloft import files
from marloft.contract.manifest import Artifact
from marloft.ranker.models import load_ranker, score
from marloft.ranker.prepare import prepare
from marloft.ranker.runs import load_run
from marloft.ranker.synthetic import SyntheticSpec, generate
from marloft.runtimes import load_runtime
from marloft.training.config import read_config
from marloft.training.track import DistilResult
from training.train import train

pytestmark = pytest.mark.e2e

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold data and a teacher of three epochs in `data` and `teacher`."""
    folder = tmp_path_factory.mktemp("distil")
    prepare(generate(SyntheticSpec()), folder / "data", name="synthetic", split_seed=2020)
    settings = [f"data.folder={folder / 'data'}", f"out={folder / 'teacher'}", "epochs=3"]
    train(read_config(REPOSITORY / "training" / "config.yaml", settings), resume=False)
    return folder


def distil(workspace: Path, name: str, *settings: str) -> subprocess.CompletedProcess[str]:
    places = ("out", "export")
    settings = (
        f"teacher={workspace / 'teacher'}",
        *(f"{key}={workspace / name}" for key in places),
        "epochs=3",
        "batch_size=512",
        *settings,
    )
    overrides = [part for setting in settings for part in ("--set", setting)]
    script = REPOSITORY / "training" / "distil.py"
    return subprocess.run(
        [sys.executable, str(script), *overrides],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def result(workspace: Path, name: str) -> DistilResult:
    return files.read_json(workspace / name / "result.json", DistilResult)


@pytest.fixture(scope="module")
def student(workspace: Path) -> DistilResult:
    done = distil(workspace, "student")
    assert done.returncode == 0, done.stderr
    return result(workspace, "student")


def test_a_student_of_half_the_size_ranks_about_as_well(student: DistilResult) -> None:
    assert student.parameters < 0.55 * student.teacher_parameters
    assert student.teacher_test_auc > 0.7
    assert student.test_auc > student.teacher_test_auc - 0.03


def test_the_student_is_exported_with_where_it_comes_from(
    workspace: Path, student: DistilResult
) -> None:
    onnx = workspace / "student" / "student.onnx"
    sidecar = files.read_json(files.sidecar_path(onnx), Artifact)
    assert sidecar.runtime == "onnx"
    assert sidecar.sha256 == files.sha256_file(onnx)
    assert sidecar.parents["student.pt"] == student.weights_sha256
    assert sidecar.parents["model.pt"] == student.teacher_weights_sha256
    assert sidecar.metrics["test_auc"] == pytest.approx(student.test_auc, abs=1e-6)
    assert sidecar.metrics["teacher_test_auc"] == student.teacher_test_auc

    teacher = load_run(workspace / "teacher")
    weights = workspace / "student" / "student.pt"
    model = load_ranker(weights, student.config.student, teacher.tables)
    inputs, _ = teacher.part("test")
    answer = load_runtime("onnx", onnx, threads=1).run(inputs)["score"]
    assert abs(answer - score(model, inputs)).max() < 1e-5


def test_the_teacher_is_listened_to(workspace: Path, student: DistilResult) -> None:
    done = distil(workspace, "alone", "soft_weight=0")
    assert done.returncode == 0, done.stderr
    alone, teacher = result(workspace, "alone"), load_run(workspace / "teacher")
    assert alone.weights_sha256 != student.weights_sha256
    inputs, _ = teacher.part("valid")
    target = score(teacher.model, inputs)

    def distance(name: str, found: DistilResult) -> float:
        weights = workspace / name / "student.pt"
        model = load_ranker(weights, found.config.student, teacher.tables)
        return float(((score(model, inputs) - target) ** 2).mean())

    assert distance("student", student) < distance("alone", alone)


def test_a_teacher_that_is_not_there_is_named(workspace: Path) -> None:
    done = distil(workspace, "none", f"teacher={workspace / 'nowhere'}")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "nowhere/result.json does not exist" in line
