"""Killed and stopped processes."""

import signal
from collections.abc import Iterator
from functools import partial

from harness.faults.fault import Fault, nothing
from harness.ranker_serving import RankerServing

LAUNCHER = "TorchServe's launcher"
# A word of its command line, and what `status` calls it.
PROCESSES = {
    "Java": ("org.pytorch.serve.ModelServer", "TorchServe"),
    LAUNCHER: ("bin/torchserve", "TorchServe"),
    "Envoy": ("bin/envoy", "gateway|Envoy"),
    "the exporter": ("marloft metrics", "exporter"),
}
_WORKERS = {"the treatment's": "2.0", "the default's only": "1.0"}
_SUPERVISOR = "marloft serve|nothing runs"


def killed_processes(serving: RankerServing) -> Iterator[Fault]:
    """Return a kill -9 of each process."""
    for name, (word, named) in PROCESSES.items():
        yield Fault(
            name=f"SIGKILL: {name}",
            named=f"{named}",
            begin=partial(send, serving, word, signal.SIGKILL),
            brief=True,
        )
    for whose, version in _WORKERS.items():
        yield Fault(
            name=f"SIGKILL: {whose} worker",
            named=f"ranker {version}",
            begin=partial(serving.kill_worker, version),
            brief=True,
        )
    yield Fault(
        name="SIGKILL: the supervisor",
        named=_SUPERVISOR,
        begin=serving.end_at_once,
        restarts=True,
        brief=True,
    )


def stopped_processes(serving: RankerServing) -> Iterator[Fault]:
    """Return a SIGSTOP of each process; nobody lets those that answer something go on."""
    for name, (word, named) in PROCESSES.items():
        # It does nothing but wait for Java.
        idle = name == LAUNCHER
        yield Fault(
            name=f"SIGSTOP: {name}",
            named=f"{named}",
            begin=partial(send, serving, word, signal.SIGSTOP),
            end=partial(send, serving, word, signal.SIGCONT) if idle else nothing,
            harmless=idle,
        )
    for whose, version in _WORKERS.items():
        yield Fault(
            name=f"SIGSTOP: {whose} worker",
            named=f"ranker {version}",
            begin=partial(_stop_worker, serving, version),
        )
    yield Fault(
        name="SIGSTOP: the supervisor",
        named=_SUPERVISOR,
        begin=partial(serving.signal_supervisor, signal.SIGSTOP),
        end=partial(serving.signal_supervisor, signal.SIGCONT),
    )


def one_of_two_workers(serving: RankerServing) -> Iterator[Fault]:
    """Return the end and the stop of one of the default's two workers."""
    yield Fault(
        name="SIGKILL: one of the default's two workers",
        named="ranker 1[.]0",
        prepare=partial(serving.deploy, split=(90, 10), workers=2),
        begin=partial(serving.kill_worker, "1.0"),
        brief=True,
        harmless=True,
    )
    yield Fault(
        name="SIGSTOP: one of the default's two workers",
        named="ranker 1[.]0",
        begin=partial(_stop_worker, serving, "1.0"),
        harmless=True,
    )


def send(serving: RankerServing, word: str, number: signal.Signals) -> None:
    """Send a signal to each process of a server by a word of its command line."""
    for process in serving.processes(word):
        process.send_signal(number)


def _stop_worker(serving: RankerServing, version: str) -> None:
    serving.workers(version)[0].suspend()
