"""Roll-outs as pure changes of a released model: begin, next step, end, back to what was before.

While a roll-out ramps, its allocation gives the new version the last buckets of 100 and control
the first; a step only makes control's interval shorter, so that no unit moves back.
"""

from collections.abc import Collection

from msgspec import Struct
from msgspec.structs import replace

from marloft.contract.manifest import Version, version_order
from marloft.contract.policy import RolloutPlan
from marloft.contract.release import (
    ROLLOUT_PREFIX,
    Allocation,
    Arm,
    ReleasedModel,
    ReleasedVersion,
    Rollout,
)
from marloft.errors import ConfigError

TOTAL = 100


class Change(Struct, frozen=True, kw_only=True):
    """What a model becomes, and in a few words how: the reason that a release gives."""

    model: ReleasedModel
    how: str


def goal(model: ReleasedModel) -> ReleasedModel:
    """Return what a model leads to: its roll-out ended, no standby."""
    rollout = model.rollout
    if rollout is None:
        return replace(model, standby={})
    kept = _without(model.versions, rollout.retire)
    return replace(
        model, default=rollout.version, versions=kept, allocation=None, rollout=None, standby={}
    )


def ramping(model: ReleasedModel) -> bool:
    """Whether a roll-out still has a step to go before its version is the default."""
    return model.rollout is not None and model.rollout.step < len(model.rollout.plan.steps)


def settled(model: ReleasedModel) -> ReleasedModel:
    """Return a model as if its roll-out ended now: with the default that it has now.

    While it ramps that is the version before; at the full step it is the new one.
    """
    if model.rollout is None:
        return model
    return abandon(model) if ramping(model) else _finished(model)


def begin(current: ReleasedModel, wanted: ReleasedModel, plan: RolloutPlan) -> ReleasedModel:
    """Return the first step of a roll-out of `wanted`'s default.

    The default stays what it is; a running experiment ends. Versions that `wanted` drops stay
    until the roll-out ends, versions that it adds leave when it is abandoned.
    """
    base = settled(current)
    return _under_way(base, wanted, _rollout(base, wanted, plan))


def advance(model: ReleasedModel) -> ReleasedModel:
    """Return the next step of a roll-out: more traffic, then all of it, then its end.

    Raises:
        ValueError: the model is not in a roll-out.
    """
    if model.rollout is None:
        raise ValueError("only a roll-out has a next step")
    if not ramping(model):
        return _finished(model)
    rollout = replace(model.rollout, step=model.rollout.step + 1)
    if rollout.step < len(rollout.plan.steps):
        return replace(model, allocation=_split(rollout), rollout=rollout)
    return replace(model, default=rollout.version, allocation=None, rollout=rollout, standby={})


def abandon(model: ReleasedModel) -> ReleasedModel:
    """End a roll-out or an experiment with what served before it.

    A roll-out, at its full step too, goes back to the default before. The versions that it brought
    in leave with it, and their aliases; one that was deployed before stays and can be pinned. An
    experiment ends with its control. A model that is in neither stays as it is.
    """
    rollout = model.rollout
    if rollout is None:
        return replace(model, allocation=None)
    kept = _without(model.versions, rollout.added)
    return replace(
        model,
        default=rollout.before,
        versions=kept,
        allocation=None,
        rollout=None,
        aliases={alias: version for alias, version in model.aliases.items() if version in kept},
    )


def switch(current: ReleasedModel, wanted: ReleasedModel) -> ReleasedModel:
    """Return `wanted` at once; the default before stays loaded, so that going back is fast."""
    base = settled(current)
    if base.default == wanted.default:
        return replace(wanted, standby=_without(base.standby, wanted.versions))
    before = {base.default: base.versions[base.default]}
    return replace(wanted, standby=_without(before, wanted.versions))


def carry(current: ReleasedModel, wanted: ReleasedModel) -> ReleasedModel:
    """Return a running roll-out at its step with what else `wanted` says: units stay."""
    rollout = current.rollout
    if rollout is None:
        raise ValueError("only a roll-out can go on")
    base = abandon(current)
    carried = replace(_rollout(base, wanted, rollout.plan), step=rollout.step)
    return _under_way(base, wanted, carried)


def change(
    name: str, current: ReleasedModel | None, wanted: ReleasedModel, plan: RolloutPlan | None
) -> Change:
    """Return what `name` becomes when `wanted` is asked for and `current` is what was decided.

    Another default begins a roll-out when there is a `plan`. It takes over at once without one,
    and when it has served already: as an arm of the running experiment, since another salt would
    move users back, or as the default before a roll-out that is at its full step.

    Raises:
        ConfigError: a roll-out would have to begin, and `wanted` runs an experiment.
    """
    if current is None:
        return Change(model=wanted, how=f"{name} is new")
    if goal(current) == wanted and (plan is not None or current.rollout is None):
        return Change(model=current, how="")
    if plan is None:
        return Change(model=switch(current, wanted), how=_at_once(name, current, wanted))
    if _leads_to(current, wanted):
        _refuse_experiment(name, wanted)
        return Change(model=carry(current, wanted), how=f"{name} goes on rolling out")
    if settled(current).default == wanted.default or _was_served(current, wanted):
        return Change(model=switch(current, wanted), how=_at_once(name, current, wanted))
    _refuse_experiment(name, wanted)
    how = f"{name} begins to roll out {wanted.default} from {settled(current).default}"
    if current.rollout is not None:
        how += f", the roll-out of {current.rollout.version} ends"
    return Change(model=begin(current, wanted, plan), how=how)


def _at_once(name: str, current: ReleasedModel, wanted: ReleasedModel) -> str:
    if settled(current).default == wanted.default:
        return ""
    return f"{name} {wanted.default} takes over from {settled(current).default} at once"


def _refuse_experiment(name: str, wanted: ReleasedModel) -> None:
    if wanted.allocation is not None:
        raise ConfigError(
            f"models.{name} asks for another default ({wanted.default}), a rollout and the "
            f"experiment {wanted.allocation.name}; first roll out with `experiment: null`, then "
            "start the experiment."
        )


def _leads_to(current: ReleasedModel, wanted: ReleasedModel) -> bool:
    """Whether the running roll-out is of the very default that is wanted, byte for byte."""
    rollout = current.rollout
    return (
        rollout is not None
        and rollout.version == wanted.default
        and current.versions[rollout.version].sha256 == wanted.versions[wanted.default].sha256
    )


def _was_served(current: ReleasedModel, wanted: ReleasedModel) -> bool:
    """Whether the wanted default has a share of the traffic, or had it until now."""
    if current.rollout is not None:
        served = [current.rollout.before]
    else:
        served = [arm.version for arm in current.allocation.arms] if current.allocation else []
    bytes_of = {version: current.versions[version].sha256 for version in served}
    return bytes_of.get(wanted.default) == wanted.versions[wanted.default].sha256


def _finished(model: ReleasedModel) -> ReleasedModel:
    """The end of a roll-out; the default before it stays loaded until the next one."""
    ended = goal(model)
    if model.rollout is None or model.rollout.before in ended.versions:
        return ended
    before = model.rollout.before
    return replace(ended, standby={before: model.versions[before]})


def _rollout(base: ReleasedModel, wanted: ReleasedModel, plan: RolloutPlan) -> Rollout:
    return Rollout(
        version=wanted.default,
        before=base.default,
        plan=plan,
        step=0,
        retire=list(_without(base.versions, wanted.versions)),
        added=list(_without(wanted.versions, base.versions)),
    )


def _under_way(base: ReleasedModel, wanted: ReleasedModel, rollout: Rollout) -> ReleasedModel:
    versions = _by_number(base.versions | wanted.versions)
    full = rollout.step == len(rollout.plan.steps)
    return replace(
        wanted,
        default=rollout.version if full else rollout.before,
        versions=versions,
        allocation=None if full else _split(rollout),
        rollout=rollout,
        standby={} if full else _without(base.standby, versions),
    )


def _split(rollout: Rollout) -> Allocation:
    percent = rollout.plan.steps[rollout.step]
    name = f"{ROLLOUT_PREFIX}{rollout.version}"
    return Allocation(
        name=name,
        salt=name,
        unit="user_id",
        arms=[
            Arm(name="control", version=rollout.before, weight=TOTAL - percent),
            Arm(name="canary", version=rollout.version, weight=percent),
        ],
    )


def _without(
    versions: dict[Version, ReleasedVersion], gone: Collection[Version]
) -> dict[Version, ReleasedVersion]:
    return {version: pinned for version, pinned in versions.items() if version not in gone}


def _by_number(versions: dict[Version, ReleasedVersion]) -> dict[Version, ReleasedVersion]:
    return dict(sorted(versions.items(), key=lambda item: version_order(item[0])))
