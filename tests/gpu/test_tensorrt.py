"""The engine against eager PyTorch, from the recipe as a user runs it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from marloft import files
from marloft.contract.manifest import Artifact, EngineFacts
from marloft.errors import ServingError
from marloft.ranker.models import score
from marloft.ranker.prepare import prepare
from marloft.ranker.runs import load_run
from marloft.ranker.synthetic import SyntheticSpec, generate
from marloft.runtimes import load_runtime
from marloft.runtimes.tensorrt import engine_file

REPOSITORY = Path(__file__).parents[2]


def recipe(name: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(REPOSITORY / "training" / f"{name}.py"), *map(str, words)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


@pytest.fixture
def run(tensorrt: None, tmp_path: Path) -> Path:
    """Return the folder of a short run on generated data."""
    prepare(generate(SyntheticSpec()), tmp_path / "data", name="synthetic", split_seed=2020)
    settings = [f"data.folder={tmp_path / 'data'}", f"out={tmp_path / 'run'}", "epochs=2"]
    done = recipe("train", *(part for setting in settings for part in ("--set", setting)))
    assert done.returncode == 0, done.stderr
    return tmp_path / "run"


@pytest.mark.parametrize(("precision", "allowed"), [("fp32", 1e-4), ("fp16", 1e-2)])
def test_an_engine_answers_as_the_model_does(run: Path, precision: str, allowed: float) -> None:
    out = run.parent / "export"
    done = recipe("export", "--run", run, "--out", out, "--tensorrt", precision)
    assert done.returncode == 0, done.stderr
    sidecar = files.read_json(out / "model.plan.json", Artifact)
    assert sidecar.engine == files.read_json(out / "model.engine.json", EngineFacts)
    assert sidecar.engine is not None and sidecar.engine.precision == precision

    trained = load_run(run)
    inputs, _ = trained.part("test")
    engine = load_runtime("tensorrt", out / "model.plan", threads=1)
    for rows in (1, 50, 1000, 1001, 2000):
        some = {name: array[:rows] for name, array in inputs.items()}
        answer = engine.run(some)["score"]
        assert np.abs(answer - score(trained.model, some)).max() < allowed


def test_an_engine_of_another_release_is_refused_before_it_is_read(run: Path) -> None:
    out = run.parent / "export"
    assert recipe("export", "--run", run, "--out", out, "--tensorrt").returncode == 0
    facts = files.read_json(out / "model.engine.json", EngineFacts)
    files.write_json(engine_file(out / "model.plan"), replace(facts, tensorrt="10.0.0"))
    with pytest.raises(ServingError, match=r"was built for TensorRT 10\.0\.0"):
        load_runtime("tensorrt", out / "model.plan", threads=1)
