"""Busy cores: one loop for each, and none left."""

import psutil

from harness.busy import busy_cores
from marloft.cores import available_cores


def loops() -> int:
    children = psutil.Process().children()
    return sum("while True: pass" in child.cmdline() for child in children)


def test_every_core_is_busy_and_then_free() -> None:
    with busy_cores():
        assert loops() == available_cores()
    assert loops() == 0
