"""How much memory a run takes: the GPU's where there is one, else the host's."""

from typing import Literal

import psutil
import torch
import torch.distributed as dist

from marloft.training.parallel import Workers

MemoryKind = Literal["gpu_peak", "host_resident"]
_MIB = 2**20


def start_measuring(workers: Workers) -> None:
    """Reset the GPU's peak; the host's memory has none to reset."""
    if workers.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(workers.device)


def measure(workers: Workers) -> tuple[float, MemoryKind]:
    """Return MiB of the process that uses most, the same in every process, and what they are.

    On a GPU the peak of PyTorch's allocator since `start_measuring`; on the CPU the resident set
    now, libraries included, which says little about a small model.
    """
    mib, kind = _of_this_process(workers)
    largest = torch.tensor(mib, dtype=torch.float64, device=workers.device)
    dist.all_reduce(largest, op=dist.ReduceOp.MAX)
    return float(largest), kind


def _of_this_process(workers: Workers) -> tuple[float, MemoryKind]:
    if workers.device.type == "cuda":
        return torch.cuda.max_memory_allocated(workers.device) / _MIB, "gpu_peak"
    return psutil.Process().memory_info().rss / _MIB, "host_resident"
