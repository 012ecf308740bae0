"""Processes, devices and sharding."""

import os
import subprocess
import sys

import msgspec
import pytest
import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule

from marloft.errors import ConfigError
from marloft.training import parallel
from marloft.training.config import Precision
from marloft.training.parallel import Workers, process_group


class Blocks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(2, 2), nn.Linear(1, 1)])


def test_a_process_alone_is_a_group_with_all_cores(alone: Workers) -> None:
    assert (alone.rank, alone.world_size, alone.is_first) == (0, 1, True)
    assert alone.threads == len(os.sched_getaffinity(0)) == torch.get_num_threads()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_cuda_on_a_machine_without_gpus_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with (
        pytest.raises(ConfigError, match=r"needs 2 GPU\(s\) for 2 process\(es\).* offers 0"),
        process_group("cuda"),
    ):
        pass


@pytest.mark.parametrize(("limit", "sharded"), [(6, True), (7, False)])
def test_shard_gives_large_blocks_a_group_of_their_own(
    alone: Workers, monkeypatch: pytest.MonkeyPatch, limit: int, sharded: bool
) -> None:
    monkeypatch.setattr(parallel, "BLOCK_PARAMETERS", limit)
    model = Blocks()
    parallel.shard(model, alone)
    assert isinstance(model, FSDPModule)
    assert [isinstance(block, FSDPModule) for block in model.blocks] == [sharded, False]


def tiny_gradient(workers: Workers, scaler: torch.amp.GradScaler) -> float:
    """Return the weight's gradient of 1e-6 x 1e-3 in fp16, whose smallest number is 6e-8."""
    model = nn.Linear(1, 1, bias=False)
    parallel.shard(model, workers, "fp16")
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    output = model(torch.full((1, 1), 1e-3)).sum() * 1e-6
    scaler.scale(output).backward()
    scaler.unscale_(optimizer)
    return float(model.weight.grad.full_tensor())  # type: ignore[union-attr]


def test_the_gradient_scaler_saves_small_gradients_of_fp16(alone: Workers) -> None:
    scaler = parallel.gradient_scaler("fp16", torch.device("cpu"))
    assert tiny_gradient(alone, scaler) == pytest.approx(1e-9, rel=0.01)


def test_without_the_scaler_they_are_lost(alone: Workers) -> None:
    idle = torch.amp.GradScaler("cpu", init_scale=1.0)
    assert tiny_gradient(alone, idle) == 0.0


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_other_precisions_have_no_scaler(precision: Precision) -> None:
    scaler = parallel.gradient_scaler(precision, torch.device("cpu"))
    assert not scaler.is_enabled()
    assert scaler.state_dict() == {}


def test_a_scaler_goes_on_from_its_state_in_a_checkpoint() -> None:
    scaler, other = (parallel.gradient_scaler("fp16", torch.device("cpu")) for _ in range(2))
    scaler.scale(torch.ones(()))
    scaler.update(1024.0)
    saved = msgspec.json.encode(scaler.state_dict())
    other.load_state_dict(msgspec.json.decode(saved, type=dict[str, int | float]))
    assert other.state_dict() == scaler.state_dict() != {}
    assert isinstance(other.state_dict()["growth_interval"], int)


def test_gradients_of_a_model_that_is_not_sharded_are_refused() -> None:
    with pytest.raises(TypeError, match="Linear is not sharded; call shard first"):
        parallel.send_gradients(nn.Linear(1, 1), now=True)


def test_recomputing_renames_no_weight() -> None:
    model = Blocks()
    before = list(model.state_dict())
    parallel.recompute_activations(model)
    assert list(model.state_dict()) == before


def test_sum_over_workers_of_one_is_the_value(alone: Workers) -> None:
    value = torch.tensor(3.0)
    assert float(parallel.sum_over_workers(value)) == 3.0


def test_a_process_ends_without_clean_up_and_loses_no_output() -> None:
    code = (
        "import atexit; from marloft.training.parallel import end_process; "
        "atexit.register(print, 'cleaned up'); print('written', end=''); end_process(); print('on')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "written")
