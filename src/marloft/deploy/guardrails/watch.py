"""Watches versions that are new to traffic and moves their roll-out on, or back.

It holds no truth: what is live is the newest release, and each move is a new one. Counts and
evidence live in memory; after a restart of the process the current step is watched from its
beginning.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, Protocol

from marloft.contract.live import WatchState
from marloft.contract.release import Key, Release
from marloft.deploy.gateway.counts import GatewayCounts, Series, Traffic
from marloft.deploy.gateway.retries import longest_request_s
from marloft.deploy.guardrails.click_log import ClickLog, Shown
from marloft.deploy.guardrails.clicks import UserClicks
from marloft.deploy.guardrails.judge import SideCounts, StepProgress, Tally, add_counts, decide
from marloft.deploy.guardrails.overload import Evidence, Overload
from marloft.deploy.guardrails.watched import WatchedVersion, watched_versions

Versions = Mapping[Key, int]
# Writes the release that moves a model on from the one given, with the reason; when a newer release
# is there already it does nothing.
Move = Callable[[Release, str, Literal["advance", "abandon"], str], None]


class Watch(Protocol):
    """Judges versions that are new to traffic, and writes the next release when one is due."""

    def judge(
        self, release: Release, restarts: Mapping[Key, int], refused: Mapping[Key, str]
    ) -> dict[str, WatchState]:
        """Judge what was counted since the last call; return each watched model's figures."""
        ...

    def pause(self) -> None:
        """Leave out what is counted until the next `judge`."""
        ...


class RolloutWatch:
    """Reads, judges and moves; `judge` is called about every second by the controller."""

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

    def pause(self) -> None:
        """Leave out what is counted until the next `judge`: TorchServe does not answer."""
        self._counts.reset()

    def judge(
        self, release: Release, restarts: Versions, refused: Mapping[Key, str]
    ) -> dict[str, WatchState]:
        """Judge what was counted since the last call; return what is watched by `Watched.key`.

        Args:
            release: the newest one; it is live, or one of its versions is refused.
            restarts: restarts of workers so far, by model and version.
            refused: why a version will never serve, by model and version.

        Raises:
            ServingError: Envoy does not answer.
        """
        watched = [each for each in watched_versions(release) if not self._has_moved(release, each)]
        for each in watched:
            why = refused.get((each.model, each.version))
            if why is not None and not self._has_moved(release, each):
                reason = f"{each.version} rolled back at {each.percent} %: {why}"
                self._write(release, each, "abandon", reason)
        watched = [each for each in watched if not self._has_moved(release, each)]
        self._take_up(watched, restarts, release)
        return self._judge(watched, restarts, release)

    def _has_moved(self, release: Release, watched: WatchedVersion) -> bool:
        """Whether a move away from this release is written already and not yet live."""
        return release.release <= self._moved.get(watched.model, 0)

    def _take_up(self, watched: list[WatchedVersion], restarts: Versions, release: Release) -> None:
        """Take up new versions and let go of those that have left."""
        if not watched:
            # What is counted while nothing is watched must not fall on the next one.
            self._counts.reset()
        if not any(each.limits.ctr_drop is not None and each.arm for each in watched):
            self._clicks = None
        elif self._clicks is None:
            self._clicks = ClickLog(self._var)
        kept: dict[str, _Watch] = {}
        for each in watched:
            watch = self._watches.get(each.key)
            if watch is None or not watch.continues(each):
                watch = _Watch(each, self._clock(), restarts)
            watch.continue_with(each, release.release, self._clock())
            kept[each.key] = watch
        self._watches = kept

    def _judge(
        self, watched: list[WatchedVersion], restarts: Versions, release: Release
    ) -> dict[str, WatchState]:
        counted = self._counts.read_new() if watched else None
        longest_s = longest_request_s(release)
        shown = self._clicks.read_settled() if self._clicks else []
        states = {}
        for each in watched:
            watch = self._watches[each.key]
            now_s = self._clock()
            watch.look(counted, now_s, longest_s)
            watch.add_clicks(shown)
            decision = decide(
                watch.progress(now_s),
                each.limits,
                watch.tally,
                *watch.side_counts(restarts),
            )
            states[each.key] = decision.state
            if decision.move != "hold" and not self._has_moved(release, each):
                self._write(release, each, decision.move, decision.reason)
        return states

    def _write(
        self,
        release: Release,
        watched: WatchedVersion,
        move: Literal["advance", "abandon"],
        reason: str,
    ) -> None:
        self._move(release, watched.model, move, reason)
        self._moved[watched.model] = release.release


class _Watch:
    """What has been counted for one watched since it was taken up."""

    def __init__(self, watched: WatchedVersion, now_s: float, restarts: Versions) -> None:
        self.watched = watched
        self.tally = Tally(control=None if watched.control is None else Traffic())
        self._restarts = dict(restarts)
        self._new_clicks, self._control_clicks = UserClicks(), UserClicks()
        # Control's weight in the click rate, by the release that decided an answer's arm.
        self._weights: dict[int, float] = {}
        self._overload, self._set_aside = Overload(), 0
        self._step_since_s, self._answered_before = now_s, 0
        self._looked_s = now_s
        self._advances = True

    def continues(self, watched: WatchedVersion) -> bool:
        """Whether `watched` is a later moment of the same roll-out or experiment."""
        mine = self.watched
        same = (mine.version, mine.experiment) == (watched.version, watched.experiment)
        return same and (watched.step or 0) >= (mine.step or 0)

    def continue_with(self, watched: WatchedVersion, release: int, now_s: float) -> None:
        """Take over the watched as the newest release has it; a new step's hold begins."""
        if watched.step != self.watched.step:
            self._step_since_s, self._answered_before = now_s, self._answered
        self.watched = watched
        if watched.arm is not None and watched.control is not None:
            self._weights[release] = watched.arm.weight / watched.control.weight

    def look(
        self, counted: Mapping[Series, Traffic] | None, now_s: float, longest_s: float
    ) -> None:
        """Add what the gateway counted since the last look, as far as it is evidence.

        While a look is none, the step's time stands still. None stands for counts that do not
        reach back to the last look.
        """
        evidence: Evidence = "aside"
        if counted is not None:
            evidence = self._overload.judge(counted, self.watched, now_s=now_s, longest_s=longest_s)
            self._set_aside += evidence in ("aside", "errors")
            self._count(counted, evidence)
        self._advances = evidence == "whole"
        if not self._advances:
            self._step_since_s += now_s - max(self._looked_s, self._step_since_s)
        self._looked_s = now_s

    def _count(self, counted: Mapping[Series, Traffic], evidence: Evidence) -> None:
        if evidence == "aside":
            return
        mine, control = self.watched, None
        new = _of_arm(counted, mine, mine.arm.name if mine.arm else "")
        if mine.control is not None:
            control = _of_arm(counted, mine, mine.control.name)
        if evidence == "errors":
            new, control = new.untimed(), control and control.untimed()
        if evidence == "blamed":
            new = new.blamed()
        self.tally = add_counts(self.tally, mine.limits, new, control)

    def add_clicks(self, settled: list[Shown]) -> None:
        """Add answers that have settled; those of other versions are passed over."""
        mine = self.watched
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

    def progress(self, now_s: float) -> StepProgress:
        """Return how far the step is."""
        mine = self.watched
        return StepProgress(
            version=mine.version,
            control=mine.control.version if mine.control else None,
            percent=mine.percent,
            held_s=now_s - self._step_since_s,
            answered=self._answered - self._answered_before,
            set_aside=self._set_aside,
            advances=self._advances,
            plan=mine.plan,
        )

    def side_counts(self, restarts: Versions) -> tuple[SideCounts, SideCounts | None]:
        """Return restarts and clicks of the new version, and of control if there is one."""
        mine = self.watched
        new = SideCounts(
            restarts=self._restarted(restarts, mine.version), clicks=self._new_clicks.moments()
        )
        if mine.control is None:
            return new, None
        control = SideCounts(
            restarts=self._restarted(restarts, mine.control.version),
            clicks=self._control_clicks.moments(),
        )
        return new, control

    @property
    def _answered(self) -> int:
        return self.tally.new.answered - self.tally.new.errors

    def _restarted(self, restarts: Versions, version: str) -> int:
        key = (self.watched.model, version)
        return restarts.get(key, 0) - self._restarts.get(key, 0)


def _of_arm(counted: Mapping[Series, Traffic], watched: WatchedVersion, arm: str) -> Traffic:
    """Sum one arm's series; without an allocation, all requests of the version outside of one."""
    found = Traffic()
    for series, traffic in counted.items():
        if (series.model, series.experiment, series.arm) != (
            watched.model,
            watched.experiment,
            arm,
        ):
            continue
        if watched.arm is not None or series.version == watched.version:
            found += traffic
    return found
