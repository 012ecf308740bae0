"""Judges a version that is new to traffic: go on, hold, or roll back. Pure functions of counts.

A guardrail breaks when its figure is beyond the limit *and* the evidence that the new version is
worse reaches `1 / ALPHA`. Either alone would not do: a limit alone is crossed by chance in a small
sample, evidence alone finds differences that nobody minds.
"""

from typing import Literal

from msgspec import Struct

from marloft.contract.live import Reading, WatchState
from marloft.contract.policy import Guardrails, RolloutPlan
from marloft.deploy.gateway.counts import SLOW_SHARE, Traffic
from marloft.deploy.guardrails.clicks import Clicks, variance_of_loss
from marloft.deploy.guardrails.evidence import (
    NO_EVIDENCE,
    LogWealth,
    against_control,
    against_limit,
    e_value,
    normal_mixture,
)

# Per test. A roll-out has five: errors and latency against control, both again against the limit
# at its full step, and CTR; so a version that is not worse is rolled back in 1 % at most.
ALPHA = 0.002
# The normal approximation of CTR and its variance needs users; below this many effective ones in
# either arm a few heavy readers decide.
LEAST_USERS = 50


class Tally(Struct, frozen=True, kw_only=True):
    """Everything counted under watch, and the evidence of it; `control` is None without one."""

    new: Traffic = Traffic()
    control: Traffic | None = Traffic()
    errors: LogWealth = NO_EVIDENCE
    slow: LogWealth = NO_EVIDENCE


class SideCounts(Struct, frozen=True, kw_only=True):
    """What is not counted at the gateway: restarts of workers and the clicks, since the start."""

    restarts: int = 0
    clicks: Clicks = Clicks()


class StepProgress(Struct, frozen=True, kw_only=True):
    """Where a version under watch stands.

    `control` names the version it is compared with, None at the full step of a roll-out;
    `held_s` and `answered`, its answers without a 5xx, are those of this step and of looks that
    were not set aside (`set_aside` counts all of those); in a look without `advances` the step
    stays. `plan` is None for an experiment, which never advances by itself.
    """

    version: str
    control: str | None
    percent: int
    held_s: float
    answered: int
    set_aside: int = 0
    advances: bool = True
    plan: RolloutPlan | None


class RolloutDecision(Struct, frozen=True, kw_only=True):
    """What to do now; `reason` is empty while holding."""

    move: Literal["hold", "advance", "abandon"]
    reason: str
    state: WatchState


def add_counts(tally: Tally, limits: Guardrails, new: Traffic, control: Traffic | None) -> Tally:
    """Add what was counted since the last look; without a control the limits are the measure."""
    errors, slow = tally.errors, tally.slow
    ratio, p99_ms = limits.error_ratio, limits.p99_ms
    if ratio is not None:
        errors = _weigh(
            *(errors, ratio, new.answered, new.errors),
            None if control is None else (control.answered, control.errors),
        )
    if p99_ms is not None:
        slow = _weigh(
            *(slow, SLOW_SHARE, new.timed, new.slower(p99_ms)),
            None if control is None else (control.timed, control.slower(p99_ms)),
        )
    both = None if control is None else (tally.control or Traffic()) + control
    return Tally(new=tally.new + new, control=both, errors=errors, slow=slow)


def read_guardrails(
    limits: Guardrails, tally: Tally, new: SideCounts, control: SideCounts | None = None
) -> list[Reading]:
    """Return the reading of each guardrail that has a limit."""
    found = []
    if limits.error_ratio is not None:
        found.append(_error_ratio(limits.error_ratio, tally))
    if limits.p99_ms is not None:
        found.append(_p99(limits.p99_ms, tally))
    if limits.ctr_drop is not None and control is not None:
        found.append(_ctr_drop(limits.ctr_drop, new.clicks, control.clicks))
    if limits.worker_restarts is not None:
        found.append(_restarts(limits.worker_restarts, new, control))
    return found


def decide(
    step: StepProgress,
    limits: Guardrails,
    tally: Tally,
    new: SideCounts,
    control: SideCounts | None = None,
) -> RolloutDecision:
    """Decide about a version at one look, from everything counted since its watch began."""
    readings = read_guardrails(limits, tally, new, control)
    state = WatchState(
        version=step.version,
        percent=step.percent,
        held_s=step.held_s,
        hold_s=step.plan.hold_s if step.plan else 0.0,
        answered=step.answered,
        min_requests=step.plan.min_requests if step.plan else 0,
        set_aside=step.set_aside,
        readings=readings,
    )
    broken = [reading for reading in readings if reading.broken]
    if broken:
        why = "; ".join(in_words(reading, step.control) for reading in broken)
        reason = f"{step.version} rolled back at {step.percent} %: {why}"
        return RolloutDecision(move="abandon", reason=reason, state=state)
    held = step.held_s >= state.hold_s and step.answered >= state.min_requests
    if step.plan and step.advances and held:
        reason = (
            f"{step.version} held {step.percent} % for {step.held_s:.0f} s and {step.answered} "
            "answers"
        )
        return RolloutDecision(move="advance", reason=reason, state=state)
    return RolloutDecision(move="hold", reason="", state=state)


def in_words(reading: Reading, control: str | None) -> str:
    """Return a reading's figures in words; `control` is the version that it is compared with."""
    form = {"p99_ms": "{:.3g} ms", "worker_restarts": "{:.0f}"}.get(reading.guardrail, "{:.1%}")

    def say(value: float | None) -> str:
        return "unknown" if value is None else form.format(value).replace("%", " %")

    name, limit = reading.guardrail, say(reading.limit)
    if name == "ctr_drop":
        name, limit = "CTR", f"a drop of {limit}"
    against = "" if control is None else f" against {say(reading.control)} at {control}"
    tested = "" if name == "worker_restarts" else f", evidence {reading.evidence:.0f}"
    return f"{name} {say(reading.value)}{against}, limit {limit}{tested}"


def _weigh(
    wealth: LogWealth, limit: float, requests: int, events: int, control: tuple[int, int] | None
) -> LogWealth:
    if control is None:
        return against_limit(wealth, requests=requests, events=events, limit=limit)
    return against_control(
        wealth,
        new=requests,
        new_events=events,
        control=control[0],
        control_events=control[1],
    )


def _reading(
    guardrail: str, value: float | None, control: float | None, limit: float, evidence: float
) -> Reading:
    material = value is not None and value > limit
    return Reading(
        guardrail=guardrail,
        value=value,
        control=control,
        limit=limit,
        evidence=evidence,
        broken=material and evidence >= 1 / ALPHA,
    )


def _error_ratio(limit: float, tally: Tally) -> Reading:
    control = None if tally.control is None else _ratio(tally.control)
    return _reading("error_ratio", _ratio(tally.new), control, limit, e_value(tally.errors))


def _ratio(traffic: Traffic) -> float | None:
    return traffic.errors / traffic.answered if traffic.answered else None


def _p99(limit: float, tally: Tally) -> Reading:
    control = None if tally.control is None else tally.control.p99_ms
    return _reading("p99_ms", tally.new.p99_ms, control, limit, e_value(tally.slow))


def _ctr_drop(limit: float, new: Clicks, control: Clicks) -> Reading:
    evidence, material = 1.0, False
    if new.ctr is not None and control.ctr and _users(new, control) >= LEAST_USERS:
        loss = control.ctr - new.ctr
        variance = variance_of_loss(new, control)
        material = loss > limit * control.ctr
        if variance > 0:
            # Tuned to losses around twice the limit: at the limit itself nothing is material yet.
            evidence = normal_mixture(loss, variance, 2 * limit * control.ctr)
    return Reading(
        guardrail="ctr_drop",
        value=new.ctr,
        control=control.ctr,
        limit=limit,
        evidence=evidence,
        broken=material and evidence >= 1 / ALPHA,
    )


def _users(*arms: Clicks) -> float:
    return min(arm.effective_users for arm in arms)


def _restarts(limit: int, new: SideCounts, control: SideCounts | None) -> Reading:
    """A rule without a test: restarts are too few to weigh; the evidence stays 1."""
    others = None if control is None else control.restarts
    return Reading(
        guardrail="worker_restarts",
        value=new.restarts,
        control=others,
        limit=limit,
        evidence=1.0,
        broken=new.restarts >= limit and new.restarts > (others or 0),
    )
