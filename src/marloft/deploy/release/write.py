"""Decides and writes the next release; releases are never edited."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from marloft.contract.release import (
    Release,
    ReleasedModel,
    Verb,
    newest_number,
    read_release,
    release_path,
    releases_folder,
)
from marloft.deploy.events import actor, append_event, now
from marloft.deploy.release import rollouts
from marloft.deploy.release.decisions import (
    Draft,
    check_proposal,
    draft_promote,
    draft_rollback,
    propose,
    released_model,
    with_models,
)
from marloft.deploy.release.resolve import check_bytes, resolve
from marloft.files import PRIVATE, to_json, write_new

CONTROLLER = "marloft serve"


def apply(
    deployment_file: Path,
    store: Path,
    var: Path,
    *,
    reassign: bool = False,
    force: bool = False,
    no_rollout: bool = False,
) -> Release | None:
    """Check `deployment_file` against the model store and write the release it asks for.

    Args:
        deployment_file: what should be live.
        store: the model store.
        var: run-time state.
        reassign: let new weights of a running experiment move units in any way; its analysis
            starts again.
        force: apply a file although a promote or rollback has superseded it.
        no_rollout: let another default take over at once, and end a running roll-out.

    Returns:
        The new release, None when the newest one already says or leads to the same.

    Raises:
        ConfigError: the file is wrong.
        ReleaseError: an archive is missing or refused, the weights break the ramp rule, or the
            file was superseded.
    """
    wanted = resolve(deployment_file, store, no_rollout=no_rollout)
    while True:
        proposal = propose(deployment_file, releases_folder(var), wanted)
        if proposal.draft is None:
            return None
        check_proposal(proposal, reassign=reassign, force=force)
        written = _write(var, proposal.newest, proposal.draft, "apply", actor())
        if written is not None:
            return written


def promote(var: Path, model: str | None = None, version: str | None = None) -> Release:
    """Make an experiment's treatment, or the version that rolls out, the default at once.

    The experiment or roll-out ends; the default before stays loaded.

    Args:
        var: run-time state.
        model: the model, by default the default model; or with the winner, `ranker@challenger`.
        version: the winner's version or alias; may be left out when there is one treatment.

    Raises:
        ReleaseError: the model runs neither, or the version is none of its treatments.
    """
    return _decided(var, "promote", lambda current: draft_promote(current, model, version))


def rollback(var: Path, store: Path, to: int | None = None) -> Release:
    """End what is rolling out, or write what an earlier release said, as a new release.

    Without `to` a running roll-out ends with the default before it. When none runs, the target is
    the newest release that says something else than what is live, and came before it first said
    so: two rollbacks in a row go back twice, not back and forth; steps of roll-outs are no
    targets. A running experiment ends, unless the target has the very same split: taking units
    back from a treatment would spoil its analysis.

    Raises:
        ReleaseError: there is no such release, or its archives are not in the store any more.
    """
    folder = releases_folder(var)

    def decide(current: Release) -> Draft:
        draft = draft_rollback(folder, current, to)
        check_bytes(store, draft.models)
        return draft

    return _decided(var, "rollback", decide)


def write_step(
    var: Path,
    expected: int,
    model: str,
    changed: ReleasedModel,
    verb: Literal["ramp", "rollback"],
    reason: str,
) -> Release | None:
    """Write the release in which the controller changed one model, and nothing else.

    Returns:
        The new release; None when `expected` is not the newest one any more: what was decided on
        is out of date then, and has to be decided again.

    Raises:
        ReleaseError: release `expected` does not exist or has no such model.
    """
    folder = releases_folder(var)
    current = read_release(folder, expected)
    released_model(current, model)
    if newest_number(folder) != expected:
        return None
    return _write(var, expected, with_models(current, {model: changed}, reason), verb, CONTROLLER)


def move(
    var: Path, release: Release, model: str, direction: Literal["advance", "abandon"], reason: str
) -> None:
    """Write the release that takes a model's roll-out one step on, or back to what served before.

    When another release has come after `release` nothing is written.
    """
    current = released_model(release, model)
    if direction == "advance":
        write_step(var, release.release, model, rollouts.advance(current), "ramp", reason)
    else:
        write_step(var, release.release, model, rollouts.abandon(current), "rollback", reason)


def _decided(var: Path, verb: Verb, decide: Callable[[Release], Draft]) -> Release:
    """Write what `decide` makes of the newest release; again when another one came in between."""
    while True:
        current = read_release(releases_folder(var))
        written = _write(var, current.release, decide(current), verb, actor())
        if written is not None:
            return written


def _write(var: Path, after: int, draft: Draft, verb: Verb, who: str) -> Release | None:
    """Write the release that follows `after`; None when another process took its number."""
    release = Release(
        release=after + 1,
        time=now(),
        actor=who,
        verb=verb,
        reason=draft.reason,
        models=draft.models,
        default_model=draft.default_model,
        log=draft.log,
        workflows=draft.workflows,
    )
    try:
        path = release_path(releases_folder(var), release.release)
        write_new(path, to_json(release), PRIVATE)
    except FileExistsError:
        return None
    append_event(var, verb, actor=who, release=release.release, reason=draft.reason)
    return release
