"""From prepared data to exported models, through the recipes as a user runs them."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import torch

from marloft import files
from marloft.contract.benchmark import BenchmarkResult
from marloft.contract.manifest import Artifact, GoldenAnswer
from marloft.ranker.latency import LatencyRow, to_markdown
from marloft.ranker.prepare import prepare
from marloft.ranker.synthetic import SyntheticSpec, generate
from marloft.training.track import EpochMetrics, RunResult, read_metrics

pytestmark = pytest.mark.e2e

REPOSITORY = Path(__file__).parents[2]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Hold a prepared synthetic data set in `data`."""
    folder = tmp_path_factory.mktemp("training")
    prepare(generate(SyntheticSpec()), folder / "data", name="synthetic", split_seed=2020)
    return folder


@pytest.fixture(scope="module")
def two_processes(workspace: Path) -> Path:
    """Return the folder of a run of three epochs on two processes."""
    run = train(workspace, "two", "epochs=3", launcher=TORCHRUN)
    assert run.returncode == 0, run.stderr
    return workspace / "two"


def test_two_processes_learn_what_one_process_learns(workspace: Path, two_processes: Path) -> None:
    run = train(workspace, "one", "epochs=3")
    assert run.returncode == 0, run.stderr
    assert result(two_processes).world_size == 2
    assert result(workspace / "one").world_size == 1
    pairs = zip(curve(workspace / "one"), curve(two_processes), strict=True)
    for one, two in pairs:
        assert two.train_loss == pytest.approx(one.train_loss, abs=TOLERANCE)
        assert two.valid_log_loss == pytest.approx(one.valid_log_loss, abs=TOLERANCE)


def test_another_seed_is_told_apart_at_that_tolerance(workspace: Path, two_processes: Path) -> None:
    run = train(workspace, "seed", "epochs=1", "seed=1")
    assert run.returncode == 0, run.stderr
    assert abs(curve(workspace / "seed")[0].train_loss - curve(two_processes)[0].train_loss) > (
        10 * TOLERANCE
    )


def test_training_finds_the_planted_effects(two_processes: Path) -> None:
    assert result(two_processes).test_auc > 0.7


def test_a_resumed_run_ends_with_the_same_weights(workspace: Path, two_processes: Path) -> None:
    first = train(workspace, "cut", "epochs=1", launcher=TORCHRUN)
    assert first.returncode == 0, first.stderr
    rest = train(workspace, "cut", "epochs=3", launcher=TORCHRUN, options=["--resume"])
    assert rest.returncode == 0, rest.stderr
    assert "epoch   1/" not in rest.stdout
    assert result(workspace / "cut").weights_sha256 == result(two_processes).weights_sha256
    assert [m.epoch for m in curve(workspace / "cut")] == [1, 2, 3]


def test_a_run_killed_within_an_epoch_ends_with_the_same_weights(
    workspace: Path, two_processes: Path
) -> None:
    saved = workspace / "killed" / "checkpoint"
    run = start_training(workspace, "killed", "epochs=3", "checkpoint_every_steps=3")
    wait_until(lambda: any(saved.glob("00000[12]-00000[36]/.metadata")), run)
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    rest = train(
        workspace,
        "killed",
        *("epochs=3", "checkpoint_every_steps=3"),
        launcher=TORCHRUN,
        options=["--resume"],
    )
    assert rest.returncode == 0, rest.stderr
    assert "epoch   1/" not in rest.stdout
    assert result(workspace / "killed").weights_sha256 == result(two_processes).weights_sha256


def test_bf16_on_two_processes_learns_about_the_same(workspace: Path, two_processes: Path) -> None:
    run = train(workspace, "bf16", "epochs=3", "precision=bf16", launcher=TORCHRUN)
    assert run.returncode == 0, run.stderr
    apart = abs(curve(workspace / "bf16")[-1].train_loss - curve(two_processes)[-1].train_loss)
    assert TOLERANCE < apart < 5e-3


def test_a_misspelt_setting_ends_with_the_nearest_name(workspace: Path) -> None:
    run = train(workspace, "typo", "optimizer.learnig_rate=0.1")
    assert run.returncode == 2
    assert run.stderr == (
        "error: --set optimizer.learnig_rate=0.1: unknown key 'learnig_rate'. "
        "Did you mean 'learning_rate'?\n"
    )


def test_training_without_data_says_what_to_run(workspace: Path) -> None:
    run = train(workspace, "nodata", f"data.folder={workspace / 'nowhere'}")
    assert run.returncode == 2
    assert run.stderr.endswith("holds no prepared data; run `marloft data prepare` first.\n")


def test_export_writes_checked_artifacts_with_the_same_bytes_each_time(
    workspace: Path, two_processes: Path
) -> None:
    for name in ("export", "again"):
        run = export(two_processes, workspace / name)
        assert run.returncode == 0, run.stderr
    for name in ("model.onnx", "model.torchscript", "tables.npz", "golden.jsonl"):
        assert files.sha256_file(workspace / "export" / name) == files.sha256_file(
            workspace / "again" / name
        )
    for name in ("model.onnx", "model.torchscript"):
        sidecar = files.read_json(workspace / "export" / f"{name}.json", Artifact)
        assert sidecar.sha256 == files.sha256_file(workspace / "export" / name)
        assert sidecar.max_abs_diff <= 1e-4
        assert sidecar.metrics["test_auc"] == pytest.approx(
            result(two_processes).test_auc, abs=1e-4
        )
    golden = (workspace / "export" / "golden.jsonl").read_bytes().splitlines()
    assert len([msgspec.json.decode(line, type=GoldenAnswer) for line in golden]) == 20


def test_export_of_weights_that_are_not_the_runs_is_refused(
    workspace: Path, two_processes: Path
) -> None:
    broken = workspace / "broken"
    broken.mkdir()
    for name in ("model.pt", "result.json"):
        (broken / name).write_bytes((two_processes / name).read_bytes())
    with (broken / "model.pt").open("ab") as stream:
        stream.write(b"\0")
    run = export(broken, workspace / "refused")
    assert run.returncode == 2
    assert "model.pt is not the file that result.json describes" in run.stderr
    assert not (workspace / "refused").exists()


@pytest.fixture(scope="module")
def exported(workspace: Path, two_processes: Path) -> Path:
    """Return a folder that holds the run's exports."""
    run = export(two_processes, workspace / "quantize")
    assert run.returncode == 0, run.stderr
    return workspace / "quantize"


def test_quantize_writes_a_checked_artifact_with_the_same_bytes_each_time(
    two_processes: Path, exported: Path
) -> None:
    hashes = []
    for _ in range(2):
        run = quantize(two_processes, exported)
        assert run.returncode == 0, run.stderr
        hashes.append(files.sha256_file(exported / "model.int8.onnx"))
    sidecar = files.read_json(exported / "model.int8.onnx.json", Artifact)
    source = files.read_json(exported / "model.onnx.json", Artifact)
    assert hashes == [sidecar.sha256] * 2
    assert sidecar.runtime == "onnx"
    assert sidecar.parents == source.parents | {"model.onnx": source.sha256}
    assert 0 < sidecar.max_abs_diff <= sidecar.metrics["worst_abs_diff"] < 0.04
    assert sidecar.metrics["test_auc"] == pytest.approx(source.metrics["test_auc"], abs=2e-3)


def test_quantize_refuses_what_passes_a_bound(
    two_processes: Path, exported: Path, tmp_path: Path
) -> None:
    shutil.copytree(exported, tmp_path / "x", ignore=shutil.ignore_patterns("model.int8*"))
    run = quantize(two_processes, tmp_path / "x", "--max-auc-loss=-1")
    assert run.returncode == 2
    (line,) = run.stderr.splitlines()
    assert "test AUC (at most -1 is allowed)" in line
    assert not (tmp_path / "x" / "model.int8.onnx").exists()


def test_quantize_of_another_runs_export_is_refused(
    workspace: Path, exported: Path, two_processes: Path, tmp_path: Path
) -> None:
    shutil.copytree(exported, tmp_path / "x")
    source = files.read_json(tmp_path / "x" / "model.onnx.json", Artifact)
    other = msgspec.structs.replace(source, parents={**source.parents, "model.pt": "0" * 64})
    files.write_json(tmp_path / "x" / "model.onnx.json", other)
    run = quantize(two_processes, tmp_path / "x")
    assert run.returncode == 2
    assert "was not exported from" in run.stderr


def test_benchmark_measures_every_form_and_notes_how(two_processes: Path, exported: Path) -> None:
    assert quantize(two_processes, exported).returncode == 0
    places = (f"teacher={two_processes}", f"out={exported}", f"export={exported}", "epochs=1")
    student = recipe("distil", *(word for place in places for word in ("--set", place)))
    assert student.returncode == 0, student.stderr
    out = exported / "latency.json"
    run = recipe(
        "benchmark", *("--run", two_processes, "--export", exported, "--out", out, "--quick")
    )
    assert run.returncode == 0, run.stderr
    found = files.read_json(out, BenchmarkResult[LatencyRow])
    assert len(found.rows) == 5 * 3
    assert all(0 < row.p50_ms <= row.p99_ms for row in found.rows)
    auc = result(two_processes).test_auc
    same = [row.test_auc for row in found.rows if row.artifact != "student.onnx"]
    assert same == pytest.approx([auc] * len(same), abs=2e-3)
    assert "--quick" in found.command
    assert str(found.headline) in run.stdout
    table = recipe("benchmark", "--table", out)
    assert table.stdout == to_markdown(found)


def quantize(run: Path, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return recipe("quantize", "--run", run, "--export", folder, *more)


def recipe(name: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    script = str(REPOSITORY / "training" / f"{name}.py")
    return run_command([sys.executable, script, *map(str, words)])


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_tensorrt_without_a_gpu_is_refused_and_exports_nothing(
    workspace: Path, two_processes: Path
) -> None:
    run = export(two_processes, workspace / "no_gpu", "--tensorrt")
    assert run.returncode == 2
    (line,) = run.stderr.splitlines()
    assert line.startswith("error: TensorRT needs an NVIDIA GPU")
    assert not (workspace / "no_gpu").exists()


def start_training(workspace: Path, name: str, *settings: str) -> subprocess.Popen[str]:
    """Start a run on two processes in a process group of its own."""
    return subprocess.Popen(
        [*TORCHRUN, *train_words(workspace, name, *settings)],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_until(happened: Callable[[], bool], run: subprocess.Popen[str]) -> None:
    """Wait for an event in a run; fail when the run ends before it."""
    while not happened():
        assert run.poll() is None, "the run ended before it could be killed"
        time.sleep(0.002)


def train_words(workspace: Path, name: str, *settings: str) -> list[str]:
    settings = (f"data.folder={workspace / 'data'}", f"out={workspace / name}", *settings)
    overrides = [part for setting in settings for part in ("--set", setting)]
    return [str(REPOSITORY / "training" / "train.py"), *overrides]


def train(
    workspace: Path,
    name: str,
    *settings: str,
    launcher: list[str] | None = None,
    options: list[str] | None = None,
) -> subprocess.CompletedProcess[str]:
    words = train_words(workspace, name, *settings)
    return run_command([*(launcher or [sys.executable]), *words, *(options or [])])


def export(run: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    script = str(REPOSITORY / "training" / "export.py")
    return run_command([sys.executable, script, "--run", str(run), "--out", str(out), *options])


def run_command(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def curve(run: Path) -> list[EpochMetrics]:
    return read_metrics(run / "metrics.jsonl")


def result(run: Path) -> RunResult:
    return files.read_json(run / "result.json", RunResult)
