"""What the next release would say after the newest one: pure decisions that write nothing."""

from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from marloft.assignment import check_reweight
from marloft.contract.manifest import Name
from marloft.contract.policy import LogPolicy
from marloft.contract.release import Allocation, Release, ReleasedModel, newest_number, read_release
from marloft.deploy.release import rollouts
from marloft.deploy.release.names import find_version
from marloft.deploy.release.resolve import Wanted
from marloft.errors import ReleaseError, nearest

Models = dict[Name, ReleasedModel]


class Draft(Struct, frozen=True, kw_only=True):
    """What the next release would say, and why."""

    models: Models
    default_model: Name
    log: LogPolicy
    workflows: list[Name]
    reason: str


class Proposal(Struct, frozen=True, kw_only=True):
    """What `apply` would write, and what it was decided on.

    Attributes:
        file: the deployment file.
        folder: the releases.
        newest: the number of the newest release, 0 when there is none.
        current: that release, None when there is none.
        wanted: what the file asks for.
        draft: what the next release would say, None when there is nothing to do.
    """

    file: Path
    folder: Path
    newest: int
    current: Release | None
    wanted: Wanted
    draft: Draft | None


def propose(file: Path, folder: Path, wanted: Wanted) -> Proposal:
    """Return what `apply` would write now, for `apply` to write and for `plan` to show.

    Raises:
        ConfigError: a roll-out would have to begin next to an experiment.
    """
    newest = newest_number(folder)
    current = read_release(folder, newest) if newest else None
    return Proposal(
        file=file,
        folder=folder,
        newest=newest,
        current=current,
        wanted=wanted,
        draft=draft_apply(current, wanted, file),
    )


def draft_apply(current: Release | None, wanted: Wanted, file: Path) -> Draft | None:
    """Return what `apply` would write after `current`, None when there is nothing to do.

    Raises:
        ConfigError: a roll-out would have to begin next to an experiment.
    """
    before = current.models if current is not None else {}
    changes = {
        name: rollouts.change(name, before.get(name), model, wanted.plans.get(name))
        for name, model in wanted.models.items()
    }
    reasons = [change.how for change in changes.values() if change.how and current is not None]
    draft = Draft(
        models={name: change.model for name, change in changes.items()},
        default_model=wanted.default_model,
        log=wanted.log,
        workflows=wanted.workflows,
        reason="; ".join([f"apply {file.name}", *reasons]),
    )
    return None if current is not None and _says_the_same(current, draft) else draft


def check_proposal(proposal: Proposal, *, reassign: bool = False, force: bool = False) -> None:
    """Let `apply` write what is proposed, or say why not.

    Raises:
        ReleaseError: the file was superseded (unless `force`), or its weights move units out of a
            treatment (unless `reassign`).
    """
    if proposal.current is None or proposal.draft is None:
        return
    if not force:
        _check_not_superseded(proposal, proposal.current)
    if not reassign:
        _check_ramp(proposal.current.models, proposal.draft.models)


def draft_promote(current: Release, model: str | None, version: str | None) -> Draft:
    """Return `current` with a treatment, or the version that rolls out, as the default at once.

    Raises:
        ReleaseError: the model runs neither, or `version` is none of its treatments.
    """
    name, meant = find_version(current, model, version)
    released = released_model(current, name)
    winner, ends = _winner(current, name, released, meant)
    ended = replace(rollouts.goal(released), default=winner, allocation=None)
    models = {name: rollouts.switch(released, ended)}
    return with_models(current, models, f"promote {name} {winner}, {ends} ended")


def draft_rollback(folder: Path, current: Release, to: int | None) -> Draft:
    """Return what comes after `current` when it is taken back; see `write.rollback`.

    Raises:
        ReleaseError: there is nothing before it, or no release `to`.
    """
    rolling = {name: model for name, model in current.models.items() if model.rollout}
    if rolling and to is None:
        back = {name: rollouts.abandon(model) for name, model in rolling.items()}
        return with_models(current, back, f"rollback of the roll-out of {', '.join(rolling)}")
    target = read_release(folder, _before(folder, current) if to is None else to)
    return Draft(
        models={
            name: _restored(current.models.get(name), model)
            for name, model in target.models.items()
        },
        default_model=target.default_model,
        log=target.log,
        workflows=target.workflows,
        reason=f"rollback to release {target.release}",
    )


def with_models(current: Release, models: Models, reason: str) -> Draft:
    """Return `current` with these models in the place of its own."""
    return Draft(
        models=current.models | models,
        default_model=current.default_model,
        log=current.log,
        workflows=current.workflows,
        reason=reason,
    )


def released_model(release: Release, name: str) -> ReleasedModel:
    """Return a model of a release; raises ReleaseError with the nearest name."""
    if name not in release.models:
        hint = nearest(name, release.models)
        raise ReleaseError(f"release {release.release} has no model {name!r}.{hint}")
    return release.models[name]


def _says_the_same(current: Release, draft: Draft) -> bool:
    fields = set(Draft.__struct_fields__) - {"reason"}
    return all(getattr(current, name) == getattr(draft, name) for name in fields)


def _winner(
    current: Release, name: str, released: ReleasedModel, version: str | None
) -> tuple[str, str]:
    """Return the version to promote and what its promotion ends."""
    if released.rollout is not None:
        treatments = [released.rollout.version]
        ends = subject = f"the roll-out of {released.rollout.version}"
    elif released.allocation is not None:
        treatments = [arm.version for arm in released.allocation.arms[1:]]
        subject = released.allocation.name
        ends = f"experiment {subject}"
    else:
        raise ReleaseError(
            f"{name} runs no experiment in release {current.release}; to change its default, edit "
            "deployment.yaml and run `marloft apply`."
        )
    winner = treatments[0] if version is None and len(treatments) == 1 else version
    if winner is None or winner not in treatments:
        raise ReleaseError(
            f"{winner!r} is no treatment of {subject}; choose one with "
            f"--version: {', '.join(treatments)}."
        )
    return winner, ends


def _before(folder: Path, current: Release) -> int:
    every = (read_release(folder, number) for number in range(1, current.release + 1))
    steady = [each for each in every if not any(model.rollout for model in each.models.values())]
    first = min(each.release for each in steady if _same_goals(each, current))
    earlier = [each.release for each in steady if each.release < first]
    if not earlier:
        raise ReleaseError(
            f"release {current.release} says what the first one said: there is nothing before it. "
            "Name a release with --to."
        )
    return earlier[-1]


def _restored(now_live: ReleasedModel | None, earlier: ReleasedModel) -> ReleasedModel:
    back = replace(rollouts.settled(earlier), standby={})
    if now_live is None:
        return replace(back, allocation=None)
    if back.allocation != now_live.allocation:
        back = replace(back, allocation=None)
    return rollouts.switch(now_live, back)


def _check_ramp(before: Models, after: Models) -> None:
    for name, model in after.items():
        old, new = _experiment_of(before, name), model.allocation
        if old is not None and new is not None and old.name == new.name:
            check_reweight(old, new)


def _check_not_superseded(proposal: Proposal, current: Release) -> None:
    """Refuse a file that still asks for what a promote or rollback has ended."""
    wanted = proposal.wanted
    if _same_goals(current, wanted):
        return
    later = current
    for number in range(current.release - 1, 0, -1):
        if later.verb == "apply":
            return
        earlier = read_release(proposal.folder, number)
        if _same_goals(earlier, wanted):
            raise ReleaseError(
                f"{proposal.file} still asks for release {number}, which release {later.release} "
                f"({later.reason}, by {later.actor}) superseded; edit it to what should be live, "
                "or use --force."
            )
        later = earlier


def _same_goals(release: Release, other: Release | Wanted) -> bool:
    goals = [
        {name: rollouts.goal(model) for name, model in each.models.items()}
        for each in (release, other)
    ]
    return goals[0] == goals[1] and release.default_model == other.default_model


def _experiment_of(models: Models, name: str) -> Allocation | None:
    """Return a model's experiment; a roll-out's steps have their own rule."""
    model = models.get(name)
    return None if model is None or model.rollout is not None else model.allocation
