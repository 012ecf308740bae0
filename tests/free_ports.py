"""Ports for a test's own servers: nobody uses them, and no other test process takes them."""

import itertools
import os

from harness import serving
from marloft.deploy.ports import Ports

# Sets of ports differ by 100, so that two never overlap; each test process has its own.
_OFFSETS = itertools.count(1000 + 2000 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]), 100)
_TRIES = 20


def free_ports() -> Ports:
    """Return ports nobody uses."""
    return serving.free_ports(itertools.islice(_OFFSETS, _TRIES))
