"""What is wrong in a running `marloft serve`, by its subject: for `status`, `live.json`, a metric.

A fault ends nothing: the supervisor goes on and tries again, and the fault is there until that has
worked.
"""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from marloft.errors import MarloftError


class Faults:
    """The faults there are now; each is reported once when it comes and once when it is over."""

    def __init__(self, report: Callable[[str], None]) -> None:
        """Begin without a fault; `report` tells people."""
        self._report = report
        self._found: dict[str, str] = {}

    @property
    def current(self) -> dict[str, str]:
        """What is wrong now, by subject; a copy, which threads may read at any time."""
        return dict(self._found)

    def found(self, subject: str, why: str) -> None:
        """Note what is wrong with a subject, as "the state folder" or "ranker 2.0"."""
        if self._found.get(subject) != why:
            self._report(f"{subject}: {why}")
        self._found[subject] = why

    def over(self, subject: str) -> None:
        """Note that nothing is wrong with a subject any more."""
        if self._found.pop(subject, None) is not None:
            self._report(f"{subject}: well again")

    @contextmanager
    def contained(self, subject: str) -> Iterator[None]:
        """Let a block fail without ending anything: its OSError or MarloftError is the fault."""
        try:
            yield
        except (OSError, MarloftError) as error:
            self.found(subject, str(error))
        else:
            self.over(subject)

    @contextmanager
    def survived(self, subject: str) -> Iterator[None]:
        """Let a part of the supervisor's loop fail in any way; it is tried again at the next look.

        A mistake of the program is the fault too, with its traceback told once.
        """
        try:
            yield
        except (OSError, MarloftError) as error:
            self.found(subject, str(error))
        # The one place where any exception is caught: TorchServe and the gateway serve without the
        # loop, and would be ended with it. What is wrong is in `status` until it has worked again.
        except Exception as error:  # noqa: BLE001
            why = f"a mistake of marloft's own: {error!r}; `marloft serve` printed where"
            if self._found.get(subject) != why:
                self._report("".join(traceback.format_exception(error)))
            self.found(subject, why)
        else:
            self.over(subject)
