"""A program that is asked to end in any moment ends, in the middle of its waiting too."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from marloft.stop_signal import StopSignal

# Two hundred signals, each at another moment of a loop that waits all the time.
PROGRAM = """
import random, signal, threading
from marloft.stop_signal import StopSignal

draw = random.Random(0)
for _ in range(200):
    stop = {kind}()
    signal.signal(signal.SIGALRM, lambda *_: stop.set())
    signal.setitimer(signal.ITIMER_REAL, draw.uniform(1e-5, 1e-3))
    while not stop.wait(1e-6):
        pass
"""


def run(kind: str, limit_s: float) -> int:
    command = [sys.executable, "-c", PROGRAM.format(kind=kind)]
    return subprocess.run(command, check=False, timeout=limit_s).returncode


def test_signal_in_any_moment_ends_the_waiting() -> None:
    assert run("StopSignal", 60) == 0


def test_event_waits_for_itself() -> None:
    # Chance decides which moment a signal meets: in one run in many none meets the wrong one.
    with pytest.raises(subprocess.TimeoutExpired):
        for _ in range(10):
            run("threading.Event", 3)


def test_wait_ends_by_its_time_or_at_once() -> None:
    stop = StopSignal()
    started = time.monotonic()
    assert not stop.wait(0.05)
    assert time.monotonic() - started >= 0.05
    threading.Timer(0.05, stop.set).start()
    assert stop.wait(60)
    stop.set()
    assert stop.wait()
    assert stop.is_set()


def test_signals_set_it() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for number in before:
            stop = StopSignal()
            stop.install()
            os.kill(os.getpid(), number)
            assert stop.wait(10)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
