"""Checkpoints: what is saved is what is loaded, and only complete ones count."""

from pathlib import Path

import msgspec
import pytest
import torch
from torch import nn
from torch.optim import AdamW, Optimizer

from marloft.errors import ConfigError
from marloft.training import checkpoint
from marloft.training.checkpoint import Progress
from marloft.training.config import TrainConfig
from marloft.training.parallel import Workers, shard

pytestmark = pytest.mark.slow


def trained(workers: Workers, *, seed: int, steps: int) -> tuple[nn.Module, Optimizer]:
    torch.manual_seed(seed)
    model = nn.Linear(3, 2)
    shard(model, workers)
    optimizer = AdamW(model.parameters(), lr=0.1)
    step(model, optimizer, steps)
    return model, optimizer


def step(model: nn.Module, optimizer: Optimizer, steps: int) -> None:
    for _ in range(steps):
        model(torch.ones(4, 3)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()


def values(model: nn.Module) -> list[float]:
    return [v for p in model.parameters() for v in p.full_tensor().flatten().tolist()]  # type: ignore[attr-defined]


def test_a_resumed_run_takes_the_same_steps(
    alone: Workers, config: TrainConfig, tmp_path: Path
) -> None:
    model, optimizer = trained(alone, seed=0, steps=3)
    checkpoint.save(tmp_path, model, optimizer, Progress(config=config, epoch=1))
    step(model, optimizer, 2)
    other, other_optimizer = trained(alone, seed=1, steps=0)
    progress = checkpoint.resume(tmp_path, other, other_optimizer, config)
    assert progress.epoch == 1
    step(other, other_optimizer, 2)
    assert values(other) == values(model)


def test_save_keeps_only_the_newest(alone: Workers, config: TrainConfig, tmp_path: Path) -> None:
    model, optimizer = trained(alone, seed=0, steps=1)
    for epoch in (1, 2):
        checkpoint.save(tmp_path, model, optimizer, Progress(config=config, epoch=epoch))
    assert [path.name for path in tmp_path.iterdir()] == ["000002-000000"]


def test_resume_takes_the_newest_step_of_the_newest_epoch(
    alone: Workers, config: TrainConfig, tmp_path: Path
) -> None:
    model, optimizer = trained(alone, seed=0, steps=1)
    places = ((9, 10), (10, 0), (10, 9), (10, 10))
    for number, (epoch, step_) in enumerate(places):
        progress = Progress(config=config, epoch=epoch, step=step_, loss_sum=step_ / 2)
        saved = checkpoint.save(tmp_path / str(number), model, optimizer, progress)
        (tmp_path / "all").mkdir(exist_ok=True)
        saved.rename(tmp_path / "all" / saved.name)
    found = checkpoint.resume(tmp_path / "all", model, optimizer, config)
    assert (found.epoch, found.step, found.loss_sum) == (10, 10, 5.0)


def test_start_anew_leaves_nothing_of_an_earlier_run(
    alone: Workers, config: TrainConfig, tmp_path: Path
) -> None:
    (tmp_path / "checkpoint" / "000003-000000").mkdir(parents=True)
    for name in ("model.pt", "result.json"):
        (tmp_path / name).write_text("old")
    assert checkpoint.start_anew(tmp_path, config) == Progress(config=config)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
    assert not list((tmp_path / "checkpoint").iterdir())


def test_resume_ignores_a_checkpoint_that_was_cut_off(
    alone: Workers, config: TrainConfig, tmp_path: Path
) -> None:
    model, optimizer = trained(alone, seed=0, steps=1)
    checkpoint.save(tmp_path, model, optimizer, Progress(config=config, epoch=1))
    (tmp_path / "000002-000000").mkdir()
    assert checkpoint.resume(tmp_path, model, optimizer, config).epoch == 1


def test_resume_without_a_checkpoint_is_refused(
    alone: Workers, config: TrainConfig, tmp_path: Path
) -> None:
    model, optimizer = trained(alone, seed=0, steps=0)
    with pytest.raises(ConfigError, match="holds no complete checkpoint"):
        checkpoint.resume(tmp_path, model, optimizer, config)


def test_resume_with_another_configuration_names_the_difference(
    alone: Workers, config: TrainConfig, tmp_path: Path
) -> None:
    model, optimizer = trained(alone, seed=0, steps=1)
    checkpoint.save(tmp_path, model, optimizer, Progress(config=config, epoch=1))
    longer = msgspec.structs.replace(
        config, epochs=99, early_stopping=None, checkpoint_every_steps=3
    )
    assert checkpoint.resume(tmp_path, model, optimizer, longer).config == longer
    other = msgspec.structs.replace(config, seed=5, accumulation_steps=7)
    with pytest.raises(ConfigError, match="--resume with a different accumulation_steps, seed"):
        checkpoint.resume(tmp_path, model, optimizer, other)


def test_saved_weights_are_plain_tensors(alone: Workers, tmp_path: Path) -> None:
    model, _ = trained(alone, seed=0, steps=1)
    checkpoint.save_weights(tmp_path / "model.pt", model)
    weights = torch.load(tmp_path / "model.pt", weights_only=True)
    assert list(weights) == ["weight", "bias"]
    assert [v for w in weights.values() for v in w.flatten().tolist()] == values(model)
