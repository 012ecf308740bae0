"""The processes of a run: process group, device mesh, threads, and sharding by FSDP2.

Zhao et al.: PyTorch FSDP. VLDB 2023, arXiv:2304.11277; per-parameter sharding:
https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import NoReturn

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.utils.checkpoint import checkpoint

from marloft.errors import ConfigError
from marloft.training.config import Device, Precision

# A block gathered by itself costs two more messages a step; below this size they cost more time
# than the block's memory is worth (the small ranker: 24 steps/s as one group, 14 as seven).
BLOCK_PARAMETERS = 1_000_000
_POLICIES: dict[Precision, MixedPrecisionPolicy] = {
    "fp32": MixedPrecisionPolicy(),
    "bf16": MixedPrecisionPolicy(
        param_dtype=torch.bfloat16, reduce_dtype=torch.float32, output_dtype=torch.float32
    ),
    "fp16": MixedPrecisionPolicy(
        param_dtype=torch.float16, reduce_dtype=torch.float32, output_dtype=torch.float32
    ),
}


@dataclass(frozen=True, kw_only=True)
class Workers:
    """The processes that train together, as one of them sees it.

    Attributes:
        rank: this process, from 0.
        world_size: how many there are.
        threads: torch threads of this process.
        device: where its tensors live.
        mesh: all of them in one dimension.
    """

    rank: int
    world_size: int
    threads: int
    device: torch.device
    mesh: DeviceMesh

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that prints and writes."""
        return self.rank == 0


@contextmanager
def process_group(device: Device) -> Iterator[Workers]:
    """Join the processes that torchrun started; without torchrun the group is this process alone.

    Threads are the cores this process may use, divided by the processes on this machine: more
    would compete with each other.

    Raises:
        ConfigError: the machine lacks the GPUs that `device` asks for.
    """
    local_size = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    chosen = _device(device, int(os.environ.get("LOCAL_RANK", "0")), local_size)
    threads = max(1, len(os.sched_getaffinity(0)) // local_size)
    torch.set_num_threads(threads)
    _join("nccl" if device == "cuda" else "gloo")
    try:
        world_size = dist.get_world_size()
        yield Workers(
            rank=dist.get_rank(),
            world_size=world_size,
            threads=threads,
            device=chosen,
            mesh=init_device_mesh(device, (world_size,)),
        )
    finally:
        dist.destroy_process_group()


def end_process() -> NoReturn:
    """End a process whose work is written, with status 0 and without Python's own clean-up.

    Threads of C++ may outlive the process group. One that asks for the interpreter during its
    clean-up is ended by force, which C++ answers by std::terminate: a run that succeeded would
    fail, and torchrun would end the others (https://github.com/python/cpython/issues/87135).
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def recompute_activations(model: nn.Module) -> None:
    """Let each block keep only its inputs, in place, and run again in the backward pass.

    A block is a direct child or an entry of a module list. Call this before `shard`. Chen et al.:
    Training Deep Nets with Sublinear Memory Cost. arXiv:1604.06174.
    """
    for block in _blocks(model, at_least=0):
        # Not torch's wrapper module: it would rename the parameters of every checkpoint.
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)


def shard(model: nn.Module, workers: Workers, precision: Precision = "fp32") -> None:
    """Shard the parameters over the processes, in place: each large block by itself, then the rest.

    A block is a direct child, or an entry of a module list; a large one has at least
    `BLOCK_PARAMETERS`. The module must hold the same values in every process; each keeps its part
    of them in fp32, gathers them in `precision`, and sums gradients in fp32. Outputs are fp32.
    """
    policy = _POLICIES[precision]
    for block in _blocks(model, at_least=BLOCK_PARAMETERS):
        fully_shard(block, mesh=workers.mesh, mp_policy=replace(policy, output_dtype=None))
    fully_shard(model, mesh=workers.mesh, mp_policy=policy)


def send_gradients(model: nn.Module, *, now: bool) -> None:
    """Choose whether the next backward pass sums gradients over the processes, or only locally.

    With accumulation only the last pass of a step needs to: the sums are sent once.
    """
    if not isinstance(model, FSDPModule):
        raise TypeError(f"{type(model).__name__} is not sharded; call shard first.")
    model.set_requires_gradient_sync(now)


def gradient_scaler(precision: Precision, device: torch.device) -> torch.amp.GradScaler:
    """Return what keeps fp16's small gradients from becoming zero; it does nothing otherwise.

    Micikevicius et al.: Mixed Precision Training. ICLR 2018, arXiv:1710.03740.
    """
    return torch.amp.GradScaler(device.type, enabled=precision == "fp16")


def sum_over_workers(value: torch.Tensor) -> torch.Tensor:
    """Return the sum of each process's tensor, the same in every process."""
    total = value.clone()
    dist.all_reduce(total)
    return total


def _join(backend: str) -> None:
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group(backend)
    else:
        store = dist.HashStore()  # type: ignore[attr-defined]
        dist.init_process_group(backend, store=store, rank=0, world_size=1)


def _device(device: Device, local_rank: int, local_size: int) -> torch.device:
    if device == "cpu":
        return torch.device("cpu")
    available = torch.cuda.device_count()
    if available < local_size:
        raise ConfigError(
            f"device: cuda needs {local_size} GPU(s) for {local_size} process(es), this machine "
            f"offers {available}; start fewer processes or use --set device=cpu."
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


def _blocks(model: nn.Module, *, at_least: int) -> Iterator[nn.Module]:
    """Yield the direct children and entries of module lists with enough parameters."""
    for child in model.children():
        entries = child if isinstance(child, nn.ModuleList) else [child]
        yield from (entry for entry in entries if _parameters(entry) >= at_least)


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
