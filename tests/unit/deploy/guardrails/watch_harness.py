"""Releases for the tests of the watch: a roll-out, its full step, an experiment."""

from typing import Any

from msgspec.structs import replace

from marloft.contract.manifest import WorkerSettings
from marloft.contract.policy import Guardrails, RolloutPlan
from marloft.contract.release import (
    Allocation,
    Arm,
    Release,
    ReleasedModel,
    ReleasedVersion,
    Rollout,
)
from tests.releases import made_release

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
