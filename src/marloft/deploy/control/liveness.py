"""Whether workers' processes live: the kernel knows it before TorchServe does."""

from collections.abc import Iterable

import psutil


def living(processes: Iterable[int]) -> frozenset[int]:
    """Return the ids of those processes that run; one that has ended and waits to be reaped not."""
    return frozenset(filter(_lives, processes))


class LivingWorkers:
    """The workers' processes that lived at the last look."""

    def __init__(self) -> None:
        """Know none yet."""
        self._processes: frozenset[int] = frozenset()

    def note(self, processes: Iterable[int]) -> None:
        """Take those that live now, by process id, for the ones to watch."""
        self._processes = frozenset(processes)

    def one_ended(self) -> bool:
        """Whether one of them has ended; each end is told once, so that a loop does not spin."""
        before, self._processes = self._processes, living(self._processes)
        return self._processes != before


def _lives(process: int) -> bool:
    try:
        return bool(psutil.Process(process).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
