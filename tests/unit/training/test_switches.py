"""Each switch of training/config.yaml, in the recipe itself: what it changes and what it must not.

Every test fails when the recipe ignores its switch.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from marloft import files
from marloft.ranker.prepare import prepare
from marloft.ranker.synthetic import SyntheticSpec, generate
from marloft.training.config import read_config
from marloft.training.track import EpochMetrics, RunResult, read_metrics
from training.train import train

pytestmark = pytest.mark.slow


CONFIG = Path(__file__).parents[3] / "training" / "config.yaml"
SMALL = ["model.embedding_dim=4", "model.hidden=[8, 4]", "batch_size=256", "epochs=2"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a run left."""

    result: RunResult
    curve: list[EpochMetrics]
    weights: Tensor


@dataclass(frozen=True, kw_only=True)
class Workshop:
    """Runs the recipe in this process on a small prepared data set."""

    folder: Path

    def run(self, name: str, *settings: str, resume: bool = False) -> Run:
        out = self.folder / name
        places = (f"data.folder={self.folder / 'data'}", f"out={out}")
        train(read_config(CONFIG, [*SMALL, *places, *settings]), resume=resume)
        state = torch.load(out / "model.pt", weights_only=True)
        return Run(
            result=files.read_json(out / "result.json", RunResult),
            curve=read_metrics(out / "metrics.jsonl"),
            weights=torch.cat([value.flatten() for value in state.values()]),
        )


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    folder = tmp_path_factory.mktemp("switches")
    data = generate(SyntheticSpec(users=60, items=50, ratings=2_000))
    prepare(data, folder / "data", name="synthetic", split_seed=2020)
    return Workshop(folder=folder)


@pytest.fixture(scope="module", autouse=True)
def no_launcher() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "LOCAL_RANK"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="module")
def plain(workshop: Workshop) -> Run:
    """A run with every switch at rest."""
    return workshop.run("plain")


def test_accumulated_small_batches_learn_what_a_large_one_learns(
    workshop: Workshop, plain: Run
) -> None:
    accumulated = workshop.run("accumulated", "batch_size=64", "accumulation_steps=4")
    small = workshop.run("small", "batch_size=64")
    # Adam divides by the gradient's size and so magnifies rounding: 2e-4 is what it makes of it.
    assert torch.allclose(accumulated.weights, plain.weights, atol=2e-4)
    assert accumulated.curve[-1].train_loss == pytest.approx(plain.curve[-1].train_loss, abs=1e-5)
    assert not torch.allclose(small.weights, plain.weights, atol=2e-3)


def test_bf16_computes_in_bf16_and_keeps_fp32_weights(workshop: Workshop, plain: Run) -> None:
    with layer_outputs() as seen:
        run = workshop.run("bf16", "precision=bf16")
    # The test part is scored by the weights on disk, in fp32.
    assert seen.training == {torch.bfloat16}
    assert run.weights.dtype == torch.float32
    assert not torch.equal(run.weights, plain.weights)
    assert run.curve[-1].train_loss == pytest.approx(plain.curve[-1].train_loss, abs=2e-3)


def test_fp32_computes_in_fp32(workshop: Workshop) -> None:
    with layer_outputs() as seen:
        workshop.run("fp32", "epochs=1")
    assert seen.training == {torch.float32}


def test_activation_checkpointing_keeps_less_and_learns_the_same(
    workshop: Workshop, plain: Run
) -> None:
    with saved_bytes() as kept_before:
        workshop.run("kept", "epochs=1")
    with saved_bytes() as kept_after:
        run = workshop.run("recomputed", "activation_checkpointing=true")
    assert kept_after.largest < 0.8 * kept_before.largest
    assert torch.equal(run.weights, plain.weights)


def test_early_stopping_ends_at_a_plateau_and_keeps_the_best_weights(workshop: Workshop) -> None:
    # An AUC from about 0.5 on cannot gain 0.4 over the first epoch's: a plateau from there on.
    plateau = "early_stopping={patience: 2, min_delta: 0.4}"
    run = workshop.run("stopped", "epochs=9", plateau)
    assert [line.epoch for line in run.curve] == [1, 2, 3]
    best = max(run.curve, key=lambda line: line.valid_auc)
    assert run.result.best_epoch == best.epoch
    assert run.result.valid_auc == best.valid_auc


def test_without_early_stopping_the_same_plateau_is_trained_through(workshop: Workshop) -> None:
    run = workshop.run("through", "epochs=4", "early_stopping=null")
    assert len(run.curve) == 4


def test_a_run_that_stopped_goes_on_only_with_more_patience(workshop: Workshop) -> None:
    rule = "early_stopping={{patience: {}, min_delta: 0.4}}"
    workshop.run("patient", "epochs=9", rule.format(1))
    again = workshop.run("patient", "epochs=9", rule.format(1), resume=True)
    assert len(again.curve) == 2
    longer = workshop.run("patient", "epochs=9", rule.format(2), resume=True)
    assert len(longer.curve) == 3


def test_a_run_resumed_within_an_epoch_ends_with_the_same_bytes(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("checkpoint_every_steps=2", "accumulation_steps=2", "batch_size=64")
    whole = workshop.run("whole", *settings)
    with pytest.raises(PowerCutError), power_cut(monkeypatch, at_save=6):
        workshop.run("cut", *settings)
    (last,) = (workshop.folder / "cut" / "checkpoint").iterdir()
    # 1,600 rows are 13 steps of 128, saved at 2, 4 ... 12 and at the end: the sixth is step 12.
    assert last.name == "000000-000012"
    resumed = workshop.run("cut", *settings, resume=True)
    assert resumed.result.weights_sha256 == whole.result.weights_sha256
    assert [m.train_loss for m in resumed.curve] == pytest.approx(
        [m.train_loss for m in whole.curve], rel=1e-12
    )


def test_metrics_hold_accuracy_and_the_memory_of_the_host(plain: Run) -> None:
    for line in plain.curve:
        # A share of the 200 rows of the valid part.
        assert line.valid_accuracy * 200 == pytest.approx(round(line.valid_accuracy * 200))
        assert line.memory_kind == "host_resident"
        assert 50 < line.memory_mib < 10_000
    assert 0.4 < plain.result.test_accuracy < 1


class PowerCutError(Exception):
    """The run ended here."""


@contextmanager
def power_cut(monkeypatch: pytest.MonkeyPatch, *, at_save: int) -> Iterator[None]:
    """Raise right after so many checkpoints were saved."""
    from marloft.training import checkpoint

    save, saves = checkpoint.save, iter(range(1, 1000))

    def save_then_fail(*words: object) -> Path:
        target = save(*words)  # type: ignore[arg-type]
        if next(saves) == at_save:
            raise PowerCutError
        return target

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", save_then_fail)
        yield


@dataclass(kw_only=True)
class Seen:
    """Types of what linear layers returned while a model trained."""

    training: set[torch.dtype] = field(default_factory=set)


@contextmanager
def layer_outputs() -> Iterator[Seen]:
    seen = Seen()

    def note(module: nn.Module, arguments: object, output: object) -> None:
        if isinstance(module, nn.Linear) and module.training and isinstance(output, Tensor):
            seen.training.add(output.dtype)

    handle = register_module_forward_hook(note)
    try:
        yield seen
    finally:
        handle.remove()


@dataclass(kw_only=True)
class Kept:
    """Bytes that forward passes of the same length put aside for their backward passes."""

    largest: int = 0
    now: int = 0


@contextmanager
def saved_bytes() -> Iterator[Kept]:
    """Count what autograd saves in each forward pass; the passes end with the model's output."""
    kept = Kept()

    def pack(tensor: Tensor) -> Tensor:
        kept.now += tensor.nbytes
        kept.largest = max(kept.largest, kept.now)
        return tensor

    def start(module: nn.Module, arguments: object) -> None:
        if type(module).__name__.endswith("Ranker"):
            kept.now = 0

    handle = nn.modules.module.register_module_forward_pre_hook(start)
    try:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            yield kept
    finally:
        handle.remove()
