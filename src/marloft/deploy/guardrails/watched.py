"""Which versions of a release are under watch, and what each is judged against."""

from msgspec import Struct

from marloft.contract.policy import Guardrails, RolloutPlan
from marloft.contract.release import Allocation, Arm, Release, ReleasedModel


class WatchedVersion(Struct, frozen=True, kw_only=True):
    """A version that is new to traffic: the canary of a roll-out, or an experiment's treatment.

    `arm` and `control` are its arm and the first one; without an allocation (the full step of a
    roll-out) both are None. `step` and `plan` are the roll-out's, None for an experiment.
    """

    key: str
    model: str
    version: str
    limits: Guardrails
    experiment: str = ""
    arm: Arm | None = None
    control: Arm | None = None
    percent: int = 100
    step: int | None = None
    plan: RolloutPlan | None = None


def watched_versions(release: Release) -> list[WatchedVersion]:
    """Return everything to watch.

    The key is the model's name; of an experiment's further treatments `model@version`. A treatment
    without any guardrail is not watched: nothing could come of it.
    """
    found = []
    for name, model in sorted(release.models.items()):
        if model.allocation is not None:
            found += _in_allocation(name, model, model.allocation)
        elif model.rollout is not None:
            found.append(
                WatchedVersion(
                    key=name,
                    model=name,
                    version=model.rollout.version,
                    limits=model.guardrails,
                    step=model.rollout.step,
                    plan=model.rollout.plan,
                )
            )
    return found


def _in_allocation(name: str, model: ReleasedModel, allocation: Allocation) -> list[WatchedVersion]:
    rollout = model.rollout
    if rollout is None and model.guardrails == Guardrails():
        return []
    total = sum(arm.weight for arm in allocation.arms)
    control, *others = allocation.arms
    return [
        WatchedVersion(
            key=f"{name}@{arm.version}" if place else name,
            model=name,
            version=arm.version,
            limits=model.guardrails,
            experiment=allocation.name,
            arm=arm,
            control=control,
            percent=round(100 * arm.weight / total),
            step=rollout.step if rollout else None,
            plan=rollout.plan if rollout else None,
        )
        for place, arm in enumerate(others)
    ]
