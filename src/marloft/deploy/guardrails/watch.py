"""Watches versions that are new to traffic and moves their roll-out on, or back.

It holds no truth: what is live is the newest release, and each move is a new one. Counts and
evidence live in memory; after a restart of the process the watch of the current step begins anew.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from marloft.contract.live import WatchState
from marloft.contract.release import Release
from marloft.deploy.gateway.counts import GatewayCounts, Series
from marloft.deploy.guardrails.click_log import ClickLog, Shown
from marloft.deploy.guardrails.clicks import UserClicks
from marloft.deploy.guardrails.judge import Beside, Step, Tally, Traffic, decide, observe
from marloft.deploy.guardrails.watched import Subject, subjects

Versions = Mapping[tuple[str, str], int]
# Writes the release that moves a model on from the one given, with the reason; when a newer release
# is there already it does nothing.
Move = Callable[[Release, str, Literal["advance", "abandon"], str], None]


class RolloutWatch:
    """Reads, judges and moves; `step` is called about every second by whoever runs the gateway."""

    def __init__(
        self,
        var: Path,
        envoy_admin_port: int,
        move: Move,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Watch the gateway at `envoy_admin_port` and the logs below `var`."""
        self._var, self._move, self._clock = var, move, clock
        self._watches: dict[str, _Watch] = {}
        self._counts = GatewayCounts(envoy_admin_port)
        self._clicks: ClickLog | None = None
        self._moved: dict[str, int] = {}

    def close(self) -> None:
        """Close the connection to Envoy."""
        self._counts.close()

    def step(
        self, release: Release, restarts: Versions, refused: Mapping[tuple[str, str], str]
    ) -> dict[str, WatchState]:
        """Look once; return what is under watch by `Subject.key`.

        Args:
            release: the newest one; it is live, or one of its versions is refused.
            restarts: restarts of workers so far, by model and version.
            refused: why a version will never serve, by model and version.

        Raises:
            ServingError: Envoy does not answer.
        """
        watched = [each for each in subjects(release) if not self._has_moved(release, each)]
        for each in watched:
            why = refused.get((each.model, each.version))
            if why is not None and not self._has_moved(release, each):
                reason = f"{each.version} rolled back at {each.percent} %: {why}"
                self._write(release, each, "abandon", reason)
        watched = [each for each in watched if not self._has_moved(release, each)]
        self._follow(watched, restarts, release)
        return self._judge(watched, restarts, release)

    def _has_moved(self, release: Release, subject: Subject) -> bool:
        """Whether a move away from this release is written already and not yet live."""
        return release.release <= self._moved.get(subject.model, 0)

    def _follow(self, watched: list[Subject], restarts: Versions, release: Release) -> None:
        """Take up new subjects and let go of those that have left."""
        if not watched:
            # What is counted while nothing is watched must not fall on the next one.
            self._counts.begin_anew()
        if not any(each.limits.ctr_drop is not None and each.arm for each in watched):
            self._clicks = None
        elif self._clicks is None:
            self._clicks = ClickLog(self._var)
        kept: dict[str, _Watch] = {}
        for each in watched:
            watch = self._watches.get(each.key)
            if watch is None or not watch.continues(each):
                watch = _Watch(each, self._clock(), restarts)
            watch.go_on(each, release.release, self._clock())
            kept[each.key] = watch
        self._watches = kept

    def _judge(
        self, watched: list[Subject], restarts: Versions, release: Release
    ) -> dict[str, WatchState]:
        counted = self._counts.read_new() if watched else {}
        shown = self._clicks.read_settled() if self._clicks else []
        states = {}
        for each in watched:
            watch = self._watches[each.key]
            watch.count(counted)
            watch.add_clicks(shown)
            decision = decide(
                watch.where(self._clock()),
                each.limits,
                watch.tally,
                *watch.beside(restarts),
            )
            states[each.key] = decision.state
            if decision.move != "hold" and not self._has_moved(release, each):
                self._write(release, each, decision.move, decision.reason)
        return states

    def _write(
        self, release: Release, subject: Subject, move: Literal["advance", "abandon"], reason: str
    ) -> None:
        self._move(release, subject.model, move, reason)
        self._moved[subject.model] = release.release


class _Watch:
    """What has been counted for one subject since it was taken up."""

    def __init__(self, subject: Subject, now_s: float, restarts: Versions) -> None:
        self.subject = subject
        self.tally = Tally(control=None if subject.control is None else Traffic())
        self._restarts = dict(restarts)
        self._new_clicks, self._control_clicks = UserClicks(), UserClicks()
        # Control's weight in the click rate, by the release that decided an answer's arm.
        self._weights: dict[int, float] = {}
        self._step_since_s, self._answered_before = now_s, 0

    def continues(self, subject: Subject) -> bool:
        """Whether `subject` is a later moment of the same roll-out or experiment."""
        mine = self.subject
        same = (mine.version, mine.experiment) == (subject.version, subject.experiment)
        return same and (subject.step or 0) >= (mine.step or 0)

    def go_on(self, subject: Subject, release: int, now_s: float) -> None:
        """Take over the subject as the newest release has it; a new step's hold begins."""
        if subject.step != self.subject.step:
            self._step_since_s, self._answered_before = now_s, self._answered
        self.subject = subject
        if subject.arm is not None and subject.control is not None:
            self._weights[release] = subject.arm.weight / subject.control.weight

    def count(self, counted: Mapping[Series, Traffic]) -> None:
        """Add what the gateway counted since the last look."""
        mine, control = self.subject, None
        if mine.control is not None:
            control = _of_arm(counted, mine, mine.control.name)
        new = _of_arm(counted, mine, mine.arm.name if mine.arm else "")
        self.tally = observe(self.tally, mine.limits, new, control)

    def add_clicks(self, settled: list[Shown]) -> None:
        """Add answers that have settled; those of other subjects are passed over."""
        mine = self.subject
        if mine.arm is None or mine.control is None or mine.limits.ctr_drop is None:
            return
        for each in settled:
            weight = self._weights.get(each.release)
            if (each.model, each.experiment) != (mine.model, mine.experiment) or weight is None:
                continue
            facts = {"clicked": each.clicked, "shown": each.shown}
            if each.arm == mine.arm.name:
                self._new_clicks.add(each.user, **facts)
            elif each.arm == mine.control.name:
                self._control_clicks.add(each.user, **facts, weight=weight)

    def where(self, now_s: float) -> Step:
        """Return how far the step is."""
        mine = self.subject
        return Step(
            version=mine.version,
            control=mine.control.version if mine.control else None,
            percent=mine.percent,
            held_s=now_s - self._step_since_s,
            answered=self._answered - self._answered_before,
            plan=mine.plan,
        )

    def beside(self, restarts: Versions) -> tuple[Beside, Beside | None]:
        """Return restarts and clicks of the new version, and of control if there is one."""
        mine = self.subject
        new = Beside(
            restarts=self._restarted(restarts, mine.version), clicks=self._new_clicks.moments()
        )
        if mine.control is None:
            return new, None
        control = Beside(
            restarts=self._restarted(restarts, mine.control.version),
            clicks=self._control_clicks.moments(),
        )
        return new, control

    @property
    def _answered(self) -> int:
        return self.tally.new.answered - self.tally.new.errors

    def _restarted(self, restarts: Versions, version: str) -> int:
        key = (self.subject.model, version)
        return restarts.get(key, 0) - self._restarts.get(key, 0)


def _of_arm(counted: Mapping[Series, Traffic], subject: Subject, arm: str) -> Traffic:
    """Sum one arm's series; without an allocation, all requests of the version outside of one."""
    found = Traffic()
    for series, traffic in counted.items():
        if (series.model, series.experiment, series.arm) != (
            subject.model,
            subject.experiment,
            arm,
        ):
            continue
        if subject.arm is not None or series.version == subject.version:
            found += traffic
    return found
