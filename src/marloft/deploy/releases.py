"""Decides and writes the next release; releases are never edited."""

from pathlib import Path

from marloft.archive.describe import read_manifest
from marloft.archive.verify import verify
from marloft.contract.manifest import Version
from marloft.contract.release import (
    Release,
    ReleasedModel,
    ReleasedVersion,
    newest_number,
    read_release,
    release_path,
)
from marloft.deploy.deployment import Deployment, SettingsOverride, read_deployment
from marloft.deploy.events import actor, append_event, now
from marloft.errors import ReleaseError
from marloft.files import sha256_file, to_json, write_new


def releases_folder(var: Path) -> Path:
    """Return where the releases of `var` lie."""
    return var / "releases"


def apply(deployment_file: Path, store: Path, var: Path, reason: str = "apply") -> Release | None:
    """Check `deployment_file` against the model store and write the release it asks for.

    Returns:
        The new release, None when the newest one already says the same.

    Raises:
        ConfigError: the file is wrong.
        ReleaseError: an archive is missing, or does not pass its checks.
    """
    deployment = read_deployment(deployment_file)
    models = resolve(deployment, store)
    folder = releases_folder(var)
    if newest_number(folder):
        current = read_release(folder)
        if (current.models, current.default_model) == (models, deployment.default_model):
            return None
    return write_release(var, models, deployment.default_model, reason)


def resolve(deployment: Deployment, store: Path) -> dict[str, ReleasedModel]:
    """Pin every version by the hash of its archive and merge its settings."""
    return {
        name: ReleasedModel(
            default=plan.default,
            versions={
                version: _pin(store, name, version, override)
                for version, override in sorted(plan.versions.items(), key=_number)
            },
        )
        for name, plan in sorted(deployment.models.items())
    }


def archive_path(store: Path, name: str, version: str) -> Path:
    """Return the archive of one version: its file name is its identity in the store."""
    return store / f"{name}-{version}.mar"


def write_release(
    var: Path, models: dict[str, ReleasedModel], default_model: str, reason: str
) -> Release:
    """Write the next number; when another process took it, read anew and try the one after."""
    folder = releases_folder(var)
    while True:
        release = Release(
            release=newest_number(folder) + 1,
            time=now(),
            actor=actor(),
            reason=reason,
            models=models,
            default_model=default_model,
        )
        try:
            write_new(release_path(folder, release.release), to_json(release))
        except FileExistsError:
            continue
        append_event(var, "release", release=release.release, reason=reason)
        return release


def _pin(store: Path, name: str, version: str, override: SettingsOverride) -> ReleasedVersion:
    path = archive_path(store, name, version)
    if not path.is_file():
        held = ", ".join(sorted(p.name for p in store.glob(f"{name}-*.mar"))) or "none"
        raise ReleaseError(
            f"{path} does not exist; {name} archives in {store}: {held}. Run `marloft pack` first."
        )
    failed = [check for check in verify(path).checks if not check.ok]
    if failed:
        first = failed[0]
        raise ReleaseError(
            f"{path} is refused ({first.code}): {first.message} `marloft verify {path}` shows all."
        )
    settings = override.over(read_manifest(path).settings)
    return ReleasedVersion(sha256=sha256_file(path), settings=settings)


def _number(item: tuple[Version, SettingsOverride]) -> tuple[int, ...]:
    return tuple(int(part) for part in item[0].split("."))
