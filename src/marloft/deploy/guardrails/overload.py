"""Which looks are evidence: not those in which more requests came than could be answered.

What is refused for that, and how long the rest waits, is the doing of those who ask. A version that
is too slow is told from it by a control that had as much to do and refused nothing, one that hangs
by giving no good answer at all.
"""

from collections.abc import Mapping
from typing import Literal

from marloft.contract.release import Key
from marloft.deploy.gateway.counts import Series, Traffic
from marloft.deploy.guardrails.watched import WatchedVersion

# blamed: what was refused is the new version's own. errors: clients asked for the new version by
# name, so that its latency says nothing. aside: no evidence.
Evidence = Literal["whole", "blamed", "errors", "aside"]

# A burst of one client falls on one version within one look, and chance does not repeat that in
# each of thirty; a version that cannot keep up refuses in every one of them.
SUSTAINED_LOOKS = 30
# Requests by name in one look that are no load: probes, people who try a version.
FEW_BY_NAME = 10


class Overload:
    """Follows one watched version from look to look."""

    def __init__(self) -> None:
        """Begin without any refusal."""
        self._blamed_looks = self._silent_looks = self._silent_errors = 0
        self._overloaded_until_s = self._loaded_until_s = 0.0

    def judge(
        self,
        counted: Mapping[Series, Traffic],
        watched: WatchedVersion,
        *,
        now_s: float,
        longest_s: float,
    ) -> Evidence:
        """Return what one look is evidence of.

        What waited in a look has its answer within `longest_s`: so long its latency says nothing.

        Args:
            counted: what was counted since the last look, all requests of the model among it.
            watched: the new version, its arm and its control.
            now_s: seconds on any clock that only goes forward.
            longest_s: the most that a request can last.
        """
        loads = _loads(counted)
        if self._is_dead(loads.get((watched.model, watched.version), Traffic())):
            return "blamed"
        refusing = {key for key, load in loads.items() if load.refused}
        if watched.control is not None:
            # What another model does to the machine, it does to control too.
            refusing = {key for key in refusing if key[0] == watched.model}
        if not refusing:
            self._blamed_looks = 0
            if _is_loaded_by_name(counted, watched):
                self._loaded_until_s = now_s + longest_s
            if now_s < self._overloaded_until_s:
                return "aside"
            return "errors" if now_s < self._loaded_until_s else "whole"
        if _is_its_own(refusing, loads, watched):
            self._blamed_looks += 1
        else:
            self._blamed_looks = 0
        if self._blamed_looks > SUSTAINED_LOOKS:
            return "blamed"
        self._overloaded_until_s = now_s + longest_s
        return "aside"

    def _is_dead(self, new: Traffic) -> bool:
        """Whether the new version fails, and answers nothing well in so many looks on end.

        One that is overloaded answers what it can; one that hangs refuses too, since what is on
        its way to it fills its limit.
        """
        if new.answered > new.errors:
            self._silent_looks = self._silent_errors = 0
        elif new.offered:
            self._silent_looks += 1
            self._silent_errors += new.errors
        return self._silent_looks > SUSTAINED_LOOKS and self._silent_errors > 0


def _is_its_own(refusing: set[Key], loads: Mapping[Key, Traffic], watched: WatchedVersion) -> bool:
    """Whether the new version alone refused, of no more than what control was asked."""
    new = (watched.model, watched.version)
    if watched.control is None or refusing != {new}:
        return False
    control = loads.get((watched.model, watched.control.version), Traffic())
    return control.offered >= loads[new].offered


def _is_loaded_by_name(counted: Mapping[Series, Traffic], watched: WatchedVersion) -> bool:
    """Whether clients chose the new version more often than it was chosen for them."""
    if watched.arm is None or watched.control is None:
        return False
    by_name = {
        series.version: traffic.offered
        for series, traffic in counted.items()
        if series.model == watched.model and not series.arm
    }
    given = sum(
        traffic.offered
        for series, traffic in counted.items()
        if (series.model, series.arm) == (watched.model, watched.arm.name)
    )
    new, control = by_name.get(watched.version, 0), by_name.get(watched.control.version, 0)
    return new > max(control, given + FEW_BY_NAME)


def _loads(counted: Mapping[Series, Traffic]) -> dict[Key, Traffic]:
    """Return all requests of each version, in an arm or by name."""
    loads: dict[Key, Traffic] = {}
    for series, traffic in counted.items():
        key = (series.model, series.version)
        loads[key] = loads.get(key, Traffic()) + traffic
    return loads
