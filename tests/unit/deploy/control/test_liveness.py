"""A worker's end is known from the kernel, a zombie's too, and told once."""

import os
import subprocess

from marloft.deploy.control.liveness import LivingWorkers, living


def test_a_process_that_ended_is_not_living_before_it_is_reaped() -> None:
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert living([os.getpid(), process.pid]) == {os.getpid()}
    assert living([process.pid]) == frozenset()


def test_an_end_is_told_once() -> None:
    workers = LivingWorkers()
    assert not workers.one_ended()
    with subprocess.Popen(["sleep", "60"]) as process:
        workers.note([os.getpid(), process.pid])
        assert not workers.one_ended()
        process.kill()
        process.wait()
    assert workers.one_ended()
    assert not workers.one_ended()
