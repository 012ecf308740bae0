"""Keeps every core of this process busy, as neighbours on a shared machine do."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from marloft.cores import available_cores


@contextmanager
def busy_cores() -> Iterator[None]:
    """Run one endless loop per core for as long as the block lasts."""
    with ExitStack() as stack:
        for _ in range(available_cores()):
            loop = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            stack.callback(loop.wait)
            stack.callback(loop.kill)
        yield
