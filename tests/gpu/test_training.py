"""The training recipe on a GPU: each precision learns, and the memory figure is the GPU's."""

from pathlib import Path

import pytest

from marloft.ranker.prepare import prepare
from marloft.ranker.synthetic import SyntheticSpec, generate
from marloft.training.config import read_config
from marloft.training.track import EpochMetrics, read_metrics
from training.train import train

CONFIG = Path(__file__).parents[2] / "training" / "config.yaml"


def curve(folder: Path, precision: str) -> list[EpochMetrics]:
    out = folder / precision
    settings = [f"data.folder={folder / 'data'}", f"out={out}", "epochs=3", "device=cuda"]
    train(read_config(CONFIG, [*settings, f"precision={precision}"]), resume=False)
    return read_metrics(out / "metrics.jsonl")


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_learns_about_what_fp32_learns(tmp_path: Path, precision: str) -> None:
    prepare(generate(SyntheticSpec()), tmp_path / "data", name="synthetic", split_seed=2020)
    full, half = curve(tmp_path, "fp32"), curve(tmp_path, precision)
    assert half[-1].train_loss == pytest.approx(full[-1].train_loss, abs=5e-3)
    assert half[-1].train_loss != full[-1].train_loss
    assert {line.memory_kind for line in half} == {"gpu_peak"}
