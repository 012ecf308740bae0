"""Ports for a test's own servers: nobody uses them, and no other test process takes them."""

import itertools
import os

from harness import serving
from marloft.deploy.ports import Ports

_SETS = 18
_WIDTH = 2000


def offsets_of(process: int) -> list[int]:
    """Return the offsets that belong to a test process; no two of all offsets share a port.

    Within a process they stay closer than the gateway's port and Envoy's admin port, 1900 apart.
    Every other process is shifted by 4: ports end in 0 to 3, 70, 71 and 80 to 82.
    """
    first = 1000 + _WIDTH * process + 4 * (process % 2)
    return [first + 100 * number for number in range(_SETS)]


_OFFSETS = itertools.cycle(offsets_of(int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])))


def free_ports() -> Ports:
    """Return ports nobody uses."""
    return serving.free_ports(itertools.islice(_OFFSETS, _SETS))
