"""For the tests of the watch: a roll-out, its full step, an experiment; Envoy's counters."""

from collections import Counter
from itertools import accumulate
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from marloft.contract.live import WatchState
from marloft.contract.manifest import WorkerSettings
from marloft.contract.metric_names import (
    GATEWAY_LATENCY,
    GATEWAY_LATENCY_BUCKETS_US,
    GATEWAY_REQUESTS,
)
from marloft.contract.policy import Guardrails, RolloutPlan
from marloft.contract.release import (
    Allocation,
    Arm,
    Release,
    ReleasedModel,
    ReleasedVersion,
    Rollout,
)
from marloft.deploy.gateway.counts import Series
from marloft.deploy.guardrails.watch import RolloutWatch
from tests.releases import made_release
from tests.unit.deploy.gateway.test_counts import Admin

PERCENTS = (5, 20)
PLAN = RolloutPlan(steps=list(PERCENTS), hold_s=60, min_requests=20)
LIMITS = Guardrails(error_ratio=0.01, p99_ms=100, ctr_drop=0.1, worker_restarts=3)
_PINNED = ReleasedVersion(sha256="0" * 64, settings=WorkerSettings())
_VERSIONS = {"1.0": _PINNED, "2.0": _PINNED, "3.0": _PINNED}


def split(name: str, percent: int) -> Allocation:
    arms = [
        Arm(name="control", version="1.0", weight=100 - percent),
        Arm(name="canary", version="2.0", weight=percent),
    ]
    return Allocation(name=name, salt="s", unit="user_id", arms=arms)


EXPERIMENT = ReleasedModel(
    default="1.0", versions=_VERSIONS, allocation=split("feed_ab", 50), guardrails=LIMITS
)


def rollout(step: int) -> ReleasedModel:
    return replace(
        EXPERIMENT,
        allocation=split("rollout-2.0", PERCENTS[step]),
        rollout=Rollout(version="2.0", before="1.0", plan=PLAN, step=step),
    )


def full_step() -> ReleasedModel:
    state = Rollout(version="2.0", before="1.0", plan=PLAN, step=len(PERCENTS))
    return replace(EXPERIMENT, default="2.0", allocation=None, rollout=state)


def release(model: ReleasedModel, number: int = 1, **changes: Any) -> Release:
    return made_release({"ranker": replace(model, **changes)}, number)


class GatewayText:
    """Envoy's counters as tests set them; `text` is what its admin interface gives."""

    def __init__(self) -> None:
        self._ends: Counter[tuple[str, str]] = Counter()
        self._buckets: dict[str, list[int]] = {}

    def add(
        self, series: Series, count: int, code: str = "200", flags: str = "-", cause: str = ""
    ) -> None:
        """Count requests of a series that ended in one way."""
        end = f'code="{code}",flags="{flags}",cause="{cause}"'
        self._ends[_labels(series), end] += count

    def time(self, series: Series, count: int, took_ms: float) -> None:
        """Put answers into the bucket whose bound is `took_ms`."""
        empty = [0] * (len(GATEWAY_LATENCY_BUCKETS_US) + 1)
        buckets = self._buckets.setdefault(_labels(series), empty)
        buckets[GATEWAY_LATENCY_BUCKETS_US.index(int(took_ms * 1e3))] += count

    @property
    def text(self) -> str:
        """Everything counted so far, in Prometheus' text format."""
        lines = [f"# TYPE {GATEWAY_REQUESTS} counter"]
        for (labels, end), total in self._ends.items():
            lines.append(f"{GATEWAY_REQUESTS}{{{labels},{end}}} {total}")
        lines.append(f"# TYPE {GATEWAY_LATENCY} histogram")
        bounds = [*map(str, GATEWAY_LATENCY_BUCKETS_US), "+Inf"]
        for labels, buckets in self._buckets.items():
            for bound, total in zip(bounds, accumulate(buckets), strict=True):
                lines.append(f'{GATEWAY_LATENCY}_bucket{{{labels},le="{bound}"}} {total}')
        return "\n".join(lines) + "\n"


def _labels(series: Series) -> str:
    facts = {"model": series.model, "version": series.version}
    facts |= {"experiment": series.experiment, "arm": series.arm}
    return ",".join(f'{name}="{value}"' for name, value in facts.items())


CONTROL = Series(model="ranker", version="1.0", experiment="rollout-2.0", arm="control")
CANARY = Series(model="ranker", version="2.0", experiment="rollout-2.0", arm="canary")
OLD_BY_NAME = Series(model="ranker", version="1.0")
NEW_BY_NAME = Series(model="ranker", version="2.0")


class Stage:
    """A watch between an admin interface and a writer of releases that only notes."""

    def __init__(self, var: Path) -> None:
        self.var = var
        self.now_s = 0.0
        self.admin, self.counted = Admin(), GatewayText()
        self.moves: list[tuple[int, str, str, str]] = []
        self.watch = RolloutWatch(var, self.admin.port, self._write, clock=lambda: self.now_s)

    def close(self) -> None:
        self.watch.close()
        self.admin.close()

    def _write(self, current: Release, model: str, move: str, reason: str) -> None:
        self.moves.append((current.release, model, move, reason))

    def serve(self, series: Series, answered: int, errors: int = 0) -> None:
        """Count more answers of a series."""
        self.counted.add(series, answered - errors)
        self.counted.add(series, errors, "500")

    def look(
        self,
        current: Release,
        restarts: dict[tuple[str, str], int] | None = None,
        refused: dict[tuple[str, str], str] | None = None,
    ) -> dict[str, WatchState]:
        self.now_s += 1
        self.admin.text = self.counted.text
        return self.watch.judge(current, restarts or {}, refused or {})
