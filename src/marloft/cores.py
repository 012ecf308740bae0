"""How many cores this process may use: a container's limit counts, not the machine's cores."""

import math
import os
from pathlib import Path

# https://docs.kernel.org/admin-guide/cgroup-v2.html#cpu-interface-files
_CGROUP_LIMIT = Path("/sys/fs/cgroup/cpu.max")


def available_cores(limit_file: Path = _CGROUP_LIMIT) -> int:
    """Return the cores of this process's CPU set, or of its cgroup's limit when that is less.

    `os.cpu_count` says what the machine has: on a node of 64 cores a container limited to 2 would
    start 32 gateway threads, which then wait for each other. A fraction counts as a whole core.
    """
    cores = len(os.sched_getaffinity(0))
    if not limit_file.is_file():
        return cores
    quota, period = limit_file.read_text().split()
    return cores if quota == "max" else min(cores, math.ceil(int(quota) / int(period)))
