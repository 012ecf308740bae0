"""Which archive people mean: a path, or a name of the model store, `ranker@2.0`."""

from pathlib import Path

import msgspec

from marloft.contract.manifest import Name, Version
from marloft.contract.release import read_release, releases_folder
from marloft.deploy.release.names import find_version
from marloft.errors import ArchiveError


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
    path = store / f"{name}-{version}.mar"
    if not path.is_file():
        raise ArchiveError(f"{store} holds no {path.name}; `marloft list` shows what it holds.")
    return path
