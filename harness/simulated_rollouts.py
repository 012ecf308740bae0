"""Roll-outs drawn from worlds of their own, through the guardrails' own decision function.

Nothing is trained or served: a world says how the new version and control behave, and each
simulated roll-out is watched as `marloft serve` watches a real one.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from scipy.stats import norm

from marloft.contract.metric_names import GATEWAY_LATENCY_BUCKETS_US
from marloft.contract.policy import Guardrails
from marloft.deploy.gateway.counts import Traffic
from marloft.deploy.guardrails.clicks import UserClicks
from marloft.deploy.guardrails.judge import (
    RolloutDecision,
    SideCounts,
    StepProgress,
    Tally,
    add_counts,
    decide,
)
from marloft.monitoring.live import LiveSettings

RATE = 50.0
TOP = LiveSettings().top
LOOK_REQUESTS = 50
LIMITS = Guardrails(error_ratio=0.01, p99_ms=75)
CTR_LIMITS = Guardrails(ctr_drop=0.1)
# Seconds at each percentage of a roll-out; 100 is the full step, without a control.
RAMP = {1: 30, 5: 30, 25: 30, 50: 30}
FULL = {**RAMP, 100: 60}
CANARY = {20: 60}
Judge = Callable[[StepProgress, Guardrails, Tally, SideCounts, SideCounts | None], RolloutDecision]


class Arm(Struct, frozen=True, kw_only=True):
    """How one version behaves: its errors, and the lognormal latency of its answers."""

    error_ratio: float = 0.0
    median_ms: float = 12.0
    sigma: float = 0.5

    def buckets(self) -> NDArray[np.float64]:
        """Return the probability of each bucket of the gateway's histogram, the last beyond all."""
        bounds = np.log(np.array(GATEWAY_LATENCY_BUCKETS_US) / 1e3 / self.median_ms) / self.sigma
        return np.diff(np.concatenate([[0.0], norm.cdf(bounds), [1.0]]))


class SimulatedRollouts(Struct, frozen=True, kw_only=True):
    """One world: how many roll-outs are rolled back, and after how many `unit`s.

    `within` is the promise for planted versions, `kept` the share rolled back by then; both are
    None for versions as good as control, where `rolled_back` is the share of false alarms.
    """

    world: str
    runs: int
    rolled_back: float
    unit: str
    median: float | None
    p95: float | None
    within: float | None
    kept: float | None


def traffic_run(
    rng: np.random.Generator, new: Arm, control: Arm, plan: dict[int, int], judge: Judge = decide
) -> float | None:
    """Return the second at which one roll-out is rolled back, None when it is not."""
    tally, second = Tally(), 0
    for percent, seconds in plan.items():
        if percent == 100:
            tally = Tally(control=None)
        old = None if percent == 100 else "1.0"
        step = StepProgress(
            version="2.0", control=old, percent=percent, held_s=0, answered=0, plan=None
        )
        rest = _looks(rng, control, RATE * (1 - percent / 100), seconds)
        for mine, theirs in zip(_looks(rng, new, RATE * percent / 100, seconds), rest, strict=True):
            second += 1
            tally = add_counts(tally, LIMITS, mine, None if old is None else theirs)
            if judge(step, LIMITS, tally, SideCounts(), None).move == "abandon":
                return second
    return None


def clicks_run(
    rng: np.random.Generator,
    ctr: float,
    drop: float,
    shares: Sequence[float],
    users: int = 2000,
    judge: Judge = decide,
) -> float | None:
    """Return after how many shown items one roll-out is rolled back for its CTR, None if never.

    Users differ: their CTR is drawn from a Beta distribution, how often they come from a
    lognormal. `shares` are the new version's share of users, in equal parts of 20,000 items; the
    CTR of both falls by a fifth on the way, as it may towards the evening.
    """
    requests = 20_000 // TOP
    taste = rng.beta(8 * ctr, 8 * (1 - ctr), users)
    visits = rng.lognormal(0, 1, users)
    who = rng.choice(users, requests, p=visits / visits.sum())
    share = np.repeat(shares, -(-requests // len(shares)))[:requests]
    is_new = rng.random(users)[who] < share
    hour = np.linspace(1, 0.8, requests)
    clicked = rng.binomial(TOP, taste[who] * hour * np.where(is_new, 1 - drop, 1))
    new, control = UserClicks(), UserClicks()
    step = StepProgress(version="2.0", control="1.0", percent=20, held_s=0, answered=0, plan=None)
    rows = zip(who.tolist(), is_new.tolist(), clicked.tolist(), share.tolist(), strict=True)
    for number, (user, mine, clicks, part) in enumerate(rows, start=1):
        weight = 1.0 if mine else part / (1 - part)
        (new if mine else control).add(str(user), clicked=clicks, shown=TOP, weight=weight)
        if number % LOOK_REQUESTS == 0:
            sides = (SideCounts(clicks=new.moments()), SideCounts(clicks=control.moments()))
            if judge(step, CTR_LIMITS, Tally(), *sides).move == "abandon":
                return number * TOP
    return None


Run = Callable[[np.random.Generator], float | None]
_AA = "as good as control"
WORLDS: dict[str, tuple[Run, str, float | None]] = {
    f"{_AA}, errors 0.5 %, 1, 5, 25, 50, 100 %": (
        partial(traffic_run, new=Arm(error_ratio=0.005), control=Arm(error_ratio=0.005), plan=FULL),
        *("s", None),
    ),
    f"{_AA}, errors 2 % and p99 over both limits, 1, 5, 25, 50 %": (
        partial(
            traffic_run,
            new=Arm(error_ratio=0.02, median_ms=26),
            control=Arm(error_ratio=0.02, median_ms=26),
            plan=RAMP,
        ),
        *("s", None),
    ),
    f"{_AA}, CTR 0.3 at 20 %": (
        partial(clicks_run, ctr=0.3, drop=0.0, shares=(0.2,)),
        *("items", None),
    ),
    f"{_AA}, CTR 0.1 at 5, 20, 50 %": (
        partial(clicks_run, ctr=0.1, drop=0.0, shares=(0.05, 0.2, 0.5)),
        *("items", None),
    ),
    "errors 5 % against 0 %": (
        partial(traffic_run, new=Arm(error_ratio=0.05), control=Arm(), plan=CANARY),
        *("s", 30),
    ),
    "errors 5 % against 0.5 %": (
        partial(
            traffic_run, new=Arm(error_ratio=0.05), control=Arm(error_ratio=0.005), plan=CANARY
        ),
        *("s", 30),
    ),
    "latency three times as long": (
        partial(traffic_run, new=Arm(median_ms=36), control=Arm(), plan=CANARY),
        *("s", 30),
    ),
    "CTR - 30 %, from 0.3": (
        partial(clicks_run, ctr=0.3, drop=0.3, shares=(0.2,)),
        *("items", 20_000),
    ),
    "CTR - 30 %, from 0.1": (
        partial(clicks_run, ctr=0.1, drop=0.3, shares=(0.2,)),
        *("items", 20_000),
    ),
}


def simulate(world: str, runs: int, seed: int = 1) -> SimulatedRollouts:
    """Draw `runs` roll-outs of one world."""
    run, unit, within = WORLDS[world]
    streams = np.random.SeedSequence(seed).spawn(runs)
    ends = [run(np.random.default_rng(stream)) for stream in streams]
    found = [end for end in ends if end is not None]
    return SimulatedRollouts(
        world=world,
        runs=runs,
        rolled_back=len(found) / runs,
        unit=unit,
        median=float(np.median(found)) if found and within else None,
        p95=float(np.quantile(found, 0.95)) if found and within else None,
        within=within,
        kept=None if within is None else sum(end <= within for end in found) / runs,
    )


def _looks(rng: np.random.Generator, arm: Arm, rate: float, seconds: int) -> Iterator[Traffic]:
    answered = rng.poisson(rate, seconds)
    errors = rng.binomial(answered, arm.error_ratio)
    latency = rng.multinomial(answered, arm.buckets())
    looks = zip(answered.tolist(), errors.tolist(), latency.tolist(), strict=True)
    for requests, failed, buckets in looks:
        yield Traffic(answered=requests, errors=failed, latency=tuple(buckets))
