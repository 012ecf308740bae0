"""Saving a run so that it can be resumed (DCP), and its weights so that others can use them.

https://docs.pytorch.org/docs/stable/distributed.checkpoint.html
"""

import io
import shutil
from pathlib import Path

import msgspec
import torch
import torch.distributed as dist
from msgspec import Struct
from torch import nn
from torch.distributed.checkpoint import state_dict_loader, state_dict_saver
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_state_dict,
)
from torch.optim import Optimizer

from marloft import files
from marloft.errors import ConfigError
from marloft.training.config import TrainConfig
from marloft.training.stop import Plateau

CHECKPOINTS = "checkpoint"
WEIGHTS = "model.pt"
RESULT = "result.json"
# DCP writes this file last, so that its presence means: complete.
_COMPLETE = ".metadata"
_PROGRESS = "progress.json"


class Progress(Struct, frozen=True, kw_only=True):
    """How far a run has come: finished epochs, and the best of them by valid AUC.

    Inside an epoch `step` counts the optimizer's steps of the next epoch that are done and
    `loss_sum` is the summed loss of their rows over all processes. `loss_scale` is the state of
    the gradient scaler, empty when there is none.
    """

    config: TrainConfig
    epoch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    loss_scale: dict[str, int | float] = {}
    plateau: Plateau = Plateau()
    best_epoch: int = 0
    best_valid_auc: float = 0.0
    best_valid_log_loss: float = 0.0


def start_anew(out: Path, config: TrainConfig) -> Progress:
    """Remove what an earlier run left, so that a run that fails leaves no old result behind.

    Every process calls this; the first one removes.
    """
    if dist.get_rank() == 0:
        shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
        for name in (WEIGHTS, RESULT):
            (out / name).unlink(missing_ok=True)
        (out / CHECKPOINTS).mkdir(parents=True)
    dist.barrier()
    return Progress(config=config)


def save(folder: Path, model: nn.Module, optimizer: Optimizer, progress: Progress) -> Path:
    """Save the run's state as `folder/<epoch>-<step>`; older ones go once it is complete.

    Every process calls this; each writes its own shards.
    """
    target = folder / f"{progress.epoch:06d}-{progress.step:06d}"
    if dist.get_rank() == 0:
        shutil.rmtree(target, ignore_errors=True)
        files.write_json(target / _PROGRESS, progress)
    dist.barrier()
    weights, moments = get_state_dict(model, optimizer)
    state_dict_saver.save({"model": weights, "optimizer": moments}, checkpoint_id=target)
    if dist.get_rank() == 0:
        for other in folder.iterdir():
            if other != target:
                shutil.rmtree(other)
    return target


def resume(folder: Path, model: nn.Module, optimizer: Optimizer, config: TrainConfig) -> Progress:
    """Load the newest complete checkpoint into model and optimizer, on any number of processes.

    Raises:
        ConfigError: there is none, or it was made with another configuration (`epochs`, `out`,
            `device`, `early_stopping` and `checkpoint_every_steps` may differ).
    """
    complete = sorted(path.parent for path in folder.glob(f"*/{_COMPLETE}"))
    if not complete:
        raise ConfigError(f"{folder} holds no complete checkpoint; start without --resume.")
    progress = files.read_json(complete[-1] / _PROGRESS, Progress)
    changed = _changed(progress.config, config)
    if changed:
        raise ConfigError(
            f"--resume with a different {', '.join(changed)} than {complete[-1]} was made with; "
            "restore the value or start without --resume."
        )
    weights, moments = get_state_dict(model, optimizer)
    # Loads in place, into the tensors that the two dictionaries hold.
    state_dict_loader.load({"model": weights, "optimizer": moments}, checkpoint_id=complete[-1])
    set_state_dict(model, optimizer, model_state_dict=weights, optim_state_dict=moments)
    return msgspec.structs.replace(progress, config=config)


def save_weights(path: Path, model: nn.Module) -> None:
    """Write the gathered weights as a plain state dict (`torch.load(..., weights_only=True)`).

    Every process calls this; the first one writes.
    """
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights = get_model_state_dict(model, options=options)
    if dist.get_rank() == 0:
        buffer = io.BytesIO()
        torch.save(weights, buffer)
        files.write_atomic(path, buffer.getvalue())
    dist.barrier()


def _changed(old: TrainConfig, new: TrainConfig) -> list[str]:
    """Name the parts of the configuration that a resumed run may not change but did."""
    free = {"epochs", "out", "device", "early_stopping", "checkpoint_every_steps"}
    names = [name for name in TrainConfig.__struct_fields__ if name not in free]
    return [name for name in names if getattr(old, name) != getattr(new, name)]
