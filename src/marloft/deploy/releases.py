"""Decides and writes the next release; releases are never edited."""

from pathlib import Path

from msgspec.structs import replace

from marloft.assignment import check_reweight
from marloft.contract.release import (
    Allocation,
    Release,
    ReleasedModel,
    Verb,
    newest_number,
    read_release,
    release_path,
)
from marloft.deploy.events import actor, append_event, now
from marloft.deploy.resolve import check_bytes, resolve
from marloft.errors import ReleaseError, nearest
from marloft.files import to_json, write_new

Models = dict[str, ReleasedModel]


def releases_folder(var: Path) -> Path:
    """Return where the releases of `var` lie."""
    return var / "releases"


def apply(
    deployment_file: Path, store: Path, var: Path, *, reassign: bool = False, force: bool = False
) -> Release | None:
    """Check `deployment_file` against the model store and write the release it asks for.

    Args:
        deployment_file: what should be live.
        store: the model store.
        var: run-time state.
        reassign: let new weights of a running experiment move units in any way; its analysis
            starts anew.
        force: apply a file although a promote or rollback has superseded it.

    Returns:
        The new release, None when the newest one already says the same.

    Raises:
        ConfigError: the file is wrong.
        ReleaseError: an archive is missing or refused, the weights break the ramp rule, or the
            file was superseded.
    """
    models, default_model = resolve(deployment_file, store)
    folder = releases_folder(var)
    if newest_number(folder):
        current = read_release(folder)
        if _same(current, models, default_model):
            return None
        if not force:
            _check_not_superseded(folder, current, models, default_model, deployment_file)
        if not reassign:
            _check_ramp(current.models, models)
    return _write(var, models, default_model, "apply", f"apply {deployment_file.name}")


def promote(var: Path, model: str | None = None, version: str | None = None) -> Release:
    """Make an experiment's treatment the default version and end the experiment.

    Args:
        var: run-time state.
        model: the model, by default the default model.
        version: the winner's version; may be left out when there is one treatment.

    Raises:
        ReleaseError: the model runs no experiment, or the version is none of its treatments.
    """
    current = read_release(releases_folder(var))
    name = model or current.default_model
    released = _released(current, name)
    if released.allocation is None:
        raise ReleaseError(
            f"{name} runs no experiment in release {current.release}; to change its default, edit "
            "deployment.yaml and run `marloft apply`."
        )
    treatments = [arm.version for arm in released.allocation.arms[1:]]
    if version is None and len(treatments) == 1:
        version = treatments[0]
    if version not in treatments:
        raise ReleaseError(
            f"{version!r} is no treatment of {released.allocation.name}; choose one with "
            f"--version: {', '.join(treatments)}."
        )
    ended = replace(released, default=version, allocation=None)
    reason = f"promote {name} {version}, experiment {released.allocation.name} ended"
    return _write(var, current.models | {name: ended}, current.default_model, "promote", reason)


def rollback(var: Path, store: Path, to: int | None = None) -> Release:
    """Write what an earlier release said as a new release.

    Without `to` the target is the newest release that says something else than what is live, and
    came before it first said so: two rollbacks in a row go back twice, not back and forth. A
    running experiment ends, unless the target has the very same split: taking units back from a
    treatment would spoil its analysis.

    Raises:
        ReleaseError: there is no such release, or its archives are not in the store any more.
    """
    folder = releases_folder(var)
    current = read_release(folder)
    target = read_release(folder, _before(folder, current) if to is None else to)
    models = {
        name: model
        if _allocation_of(current.models, name) == model.allocation
        else replace(model, allocation=None)
        for name, model in target.models.items()
    }
    check_bytes(store, models)
    reason = f"rollback to release {target.release}"
    return _write(var, models, target.default_model, "rollback", reason)


def _before(folder: Path, current: Release) -> int:
    first = min(
        number
        for number in range(1, current.release + 1)
        if _same(read_release(folder, number), current.models, current.default_model)
    )
    if first == 1:
        raise ReleaseError(
            f"release {current.release} says what the first one said: there is nothing before it. "
            "Name a release with --to."
        )
    return first - 1


def _write(var: Path, models: Models, default_model: str, verb: Verb, reason: str) -> Release:
    """Write the next number; when another process took it, read anew and try the one after."""
    folder = releases_folder(var)
    while True:
        release = Release(
            release=newest_number(folder) + 1,
            time=now(),
            actor=actor(),
            verb=verb,
            reason=reason,
            models=models,
            default_model=default_model,
        )
        try:
            write_new(release_path(folder, release.release), to_json(release))
        except FileExistsError:
            continue
        append_event(var, verb, release=release.release, reason=reason)
        return release


def _check_ramp(before: Models, after: Models) -> None:
    for name, model in after.items():
        old, new = _allocation_of(before, name), model.allocation
        if old is not None and new is not None and old.name == new.name:
            check_reweight(old, new)


def _check_not_superseded(
    folder: Path, current: Release, models: Models, default_model: str, file: Path
) -> None:
    """Refuse a file that still asks for what a promote or rollback has ended."""
    later = current
    for number in range(current.release - 1, 0, -1):
        if later.verb == "apply":
            return
        earlier = read_release(folder, number)
        if _same(earlier, models, default_model):
            raise ReleaseError(
                f"{file} still asks for release {number}, which release {later.release} "
                f"({later.reason}, by {later.actor}) superseded; edit it to what should be live, "
                "or use --force."
            )
        later = earlier


def _same(release: Release, models: Models, default_model: str) -> bool:
    return (release.models, release.default_model) == (models, default_model)


def _released(release: Release, name: str) -> ReleasedModel:
    if name not in release.models:
        hint = nearest(name, release.models)
        raise ReleaseError(f"release {release.release} has no model {name!r}.{hint}")
    return release.models[name]


def _allocation_of(models: Models, name: str) -> Allocation | None:
    model = models.get(name)
    return None if model is None else model.allocation
