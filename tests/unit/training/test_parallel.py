"""Processes, devices and sharding."""

import os

import pytest
import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule

from marloft.errors import ConfigError
from marloft.training import parallel
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


def test_sum_over_workers_of_one_is_the_value(alone: Workers) -> None:
    value = torch.tensor(3.0)
    assert float(parallel.sum_over_workers(value)) == 3.0
