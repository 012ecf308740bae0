"""Simulate roll-outs through the guardrails' own decision function: false alarms and delays.

    python benchmarks/guardrails.py
    python benchmarks/guardrails.py --table benchmarks/results/guardrails.json

The first form draws roll-outs of versions that are as good as control and of planted bad ones, one
look a second, and writes how many are rolled back and after how long. The second prints the
documentation's table of a result.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from rich.console import Console
from scipy.stats import norm

from marloft import files
from marloft.contract.benchmark import BenchmarkResult
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
from marloft.errors import reported
from marloft.monitoring.live import LiveSettings
from marloft.training.provenance import describe_machine, describe_result

RUNS, QUICK_RUNS = 1000, 100
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


class GuardrailRow(Struct, frozen=True, kw_only=True):
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
        beside = None if percent == 100 else "1.0"
        step = StepProgress(
            version="2.0", control=beside, percent=percent, held_s=0, answered=0, plan=None
        )
        rest = _looks(rng, control, RATE * (1 - percent / 100), seconds)
        for mine, theirs in zip(_looks(rng, new, RATE * percent / 100, seconds), rest, strict=True):
            second += 1
            tally = add_counts(tally, LIMITS, mine, None if beside is None else theirs)
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


def simulate(world: str, runs: int, seed: int = 1) -> GuardrailRow:
    """Draw `runs` roll-outs of one world."""
    run, unit, within = WORLDS[world]
    streams = np.random.SeedSequence(seed).spawn(runs)
    ends = [run(np.random.default_rng(stream)) for stream in streams]
    found = [end for end in ends if end is not None]
    return GuardrailRow(
        world=world,
        runs=runs,
        rolled_back=len(found) / runs,
        unit=unit,
        median=float(np.median(found)) if found and within else None,
        p95=float(np.quantile(found, 0.95)) if found and within else None,
        within=within,
        kept=None if within is None else sum(end <= within for end in found) / runs,
    )


def to_markdown(result: BenchmarkResult[GuardrailRow]) -> str:
    """Return the table of the documentation, with the command that made it."""
    heads = ["new version, at 20 % unless said", "runs", "rolled back", "median", "95 % by"]
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    for row in result.rows:
        cells = [row.world, f"{row.runs:,}", f"{row.rolled_back:.2%}".replace("%", " %")]
        if row.kept is not None:
            cells[2] = f"{row.kept:.1%} in {row.within:,.0f} {row.unit}".replace("%", " %")
        for figure in (row.median, row.p95):
            cells.append("" if figure is None else f"{figure:,.0f} {row.unit}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", f"`{result.command}`, {result.date[:10]}."]) + "\n"


def _looks(rng: np.random.Generator, arm: Arm, rate: float, seconds: int) -> Iterator[Traffic]:
    answered = rng.poisson(rate, seconds)
    errors = rng.binomial(answered, arm.error_ratio)
    latency = rng.multinomial(answered, arm.buckets())
    looks = zip(answered.tolist(), errors.tolist(), latency.tolist(), strict=True)
    for requests, failed, buckets in looks:
        yield Traffic(answered=requests, errors=failed, latency=tuple(buckets))


def _headline(rows: Sequence[GuardrailRow]) -> str:
    false = max(row.rolled_back for row in rows if row.kept is None)
    planted = [
        f"{row.world}: {row.kept:.1%} within {row.within:,.0f} {row.unit}"
        for row in rows
        if row.kept is not None
    ]
    return (
        f"Of the roll-outs of a version as good as control {false:.2%} are rolled back at most; of "
        f"planted bad ones, {'; '.join(planted)}."
    )


def main() -> None:
    """Parse the command line; exit 2 with one line for a user's mistake."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("build/benchmark/guardrails.json"))
    parser.add_argument("--quick", action="store_true", help="a tenth of the runs")
    parser.add_argument("--table", type=Path, metavar="FILE", help="print this result's table")
    options = parser.parse_args()
    with reported("error"):
        if options.table is not None:
            result = files.read_json(options.table, BenchmarkResult[GuardrailRow])
            sys.stdout.write(to_markdown(result))
            return
        machine = describe_machine(("numpy",))
        runs = QUICK_RUNS if options.quick else RUNS
        rows = [simulate(world, runs) for world in WORLDS]
        result = describe_result(machine, Path(__file__), rows, _headline(rows))
        files.write_json(options.out, result)
    Console().print(to_markdown(result), result.headline, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
