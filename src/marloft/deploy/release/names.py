"""How people name a version or its archive: `2.0`, an alias, `ranker@champion`, a path."""

from pathlib import Path

import msgspec

from marloft.contract.manifest import Name, Version, archive_path
from marloft.contract.release import Release, read_release, releases_folder
from marloft.errors import ArchiveError, ReleaseError, nearest


def find_version(
    release: Release, model: str | None = None, version: str | None = None
) -> tuple[str, str | None]:
    """Return the model and the version that are meant; None when no version is named.

    Args:
        release: where aliases are looked up.
        model: `ranker` or `ranker@VERSION`; by default the default model.
        version: a version or an alias. A version does not have to be released.

    Raises:
        ReleaseError: there is no such model or alias, or two versions are named.
    """
    name, at, named = (model or release.default_model).partition("@")
    if at and version is not None:
        raise ReleaseError(
            f"{model} and --version {version} both name a version; leave one of them out."
        )
    if name not in release.models:
        hint = nearest(name, release.models)
        raise ReleaseError(f"release {release.release} has no model {name!r}.{hint}")
    wanted = named if at else version
    if wanted is None or wanted[:1].isdigit():
        return name, wanted
    released = release.models[name]
    if wanted not in released.aliases:
        hint = nearest(wanted, {*released.aliases, *released.versions})
        raise ReleaseError(f"{name} has no alias {wanted!r} in release {release.release}.{hint}")
    return name, released.aliases[wanted]


def named_version(named: str, var: Path) -> tuple[str, str]:
    """Return model and version of `ranker@2.0`, or of `ranker@champion` by the newest release.

    A version does not have to be released, and needs no release; an alias does.

    Raises:
        ArchiveError: it is no model's name, `@` and a version or an alias.
        ReleaseError: there is no such alias, or no release to look it up.
    """
    name, _, version = named.partition("@")
    if version[:1].isdigit():
        try:
            return msgspec.convert(name, Name), msgspec.convert(version, Version)
        except msgspec.ValidationError:
            version = ""
    if not version:
        raise ArchiveError(f"{named!r} names no version; write it as ranker@2.0.")
    name, found = find_version(read_release(releases_folder(var)), named)
    return name, found or ""


def find_archive(named: str, store: Path, var: Path) -> Path:
    """Return the archive that is meant: a path as it stands, or the store's `ranker@2.0`.

    Raises:
        ArchiveError: the store has no such archive.
        ReleaseError: as `named_version`.
    """
    if "@" not in named or named.endswith(".mar"):
        return Path(named)
    name, version = named_version(named, var)
    path = archive_path(store, name, version)
    if not path.is_file():
        raise ArchiveError(f"{store} holds no {path.name}; `marloft list` shows what it holds.")
    return path
