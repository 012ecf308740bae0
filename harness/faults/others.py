"""Few descriptors, a deleted archive, a management API that hangs; and all faults in order."""

import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil

from harness.faults.disks import disk_faults
from harness.faults.fault import Fault, run_program
from harness.faults.files import file_faults
from harness.faults.processes import killed_processes, one_of_two_workers, stopped_processes
from harness.ranker_serving import MODEL, RankerServing
from harness.serving import run_marloft

_DESCRIPTORS, _CONNECTIONS = 256, 300


def every_fault(serving: RankerServing, temporary: Path) -> Iterator[Fault]:
    """Return every fault, for a server that runs with `small_disks`; one after another."""
    yield from killed_processes(serving)
    yield from disk_faults(serving.var, temporary)
    yield from stopped_processes(serving)
    yield from file_faults(serving)
    yield from _other_faults(serving)
    yield from one_of_two_workers(serving)


def _other_faults(serving: RankerServing) -> Iterator[Fault]:
    archive = serving.project / "model_store" / f"{MODEL}-2.0.mar"
    kept = archive.with_suffix(".kept")
    yield Fault(
        name="the archive of a live version deleted",
        named="ranker-2[.]0[.]mar|archive",
        begin=partial(archive.rename, kept),
        end=partial(kept.rename, archive),
    )
    drop = ("INPUT", "-p", "tcp", "--dport", str(serving.ports.management), "-j", "DROP")
    yield Fault(
        name="the management API hangs",
        named="management|TorchServe",
        begin=partial(run_program, "iptables", "-I", *drop),
        end=partial(run_program, "iptables", "-D", *drop),
    )
    few = _FewDescriptors(serving)
    yield Fault(
        name=f"{_DESCRIPTORS} descriptors, {_CONNECTIONS} connections, then a new release",
        named="routes|descriptor|open files|gateway|splits",
        begin=few.begin,
        end=few.end,
        harmless=True,
    )


class _FewDescriptors:
    """Takes descriptors away from the gateway, uses up the rest, and lets something be decided."""

    def __init__(self, serving: RankerServing) -> None:
        self._serving = serving
        self._held: list[socket.socket] = []

    def begin(self) -> None:
        """Leave the gateway too few for all connections and the new route file."""
        self._gateway = self._serving.processes("bin/envoy")[0]
        self._limits = self._gateway.rlimit(psutil.RLIMIT_NOFILE)
        self._gateway.rlimit(psutil.RLIMIT_NOFILE, (_DESCRIPTORS, self._limits[1]))
        for _ in range(_CONNECTIONS):
            link = socket.socket()
            link.settimeout(1)
            link.connect(("127.0.0.1", self._serving.ports.gateway))
            self._held.append(link)
        self._serving.write((80, 20), ("1.0", "2.0"), "1.0")
        run_marloft(self._serving.project, "apply", "--force", "--reassign", "--no-wait")

    def end(self) -> None:
        """Give everything back."""
        self._gateway.rlimit(psutil.RLIMIT_NOFILE, self._limits)
        while self._held:
            self._held.pop().close()
