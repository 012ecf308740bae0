"""`marloft list`: the archives of the model store, and which release names each of them."""

import re
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from marloft.contract.release import Release, newest_number, read_release, releases_folder
from marloft.deploy.status import roles
from marloft.files import sha256_file

_FILE = re.compile(r"(?P<name>[a-z][a-z0-9_]*)-(?P<version>\d+\.\d+)\.mar\Z")


class Stored(Struct, frozen=True, kw_only=True):
    """One file of the store.

    `name` and `version` are None for a file that is not named as marloft names archives; a
    workflow has no version. `release` is the newest one that names these very bytes, None when
    none does; `role` is what the version does there, `""` unless that is the newest release.
    """

    file: str
    name: str | None
    version: str | None
    sha256: str
    size_bytes: int
    release: int | None = None
    role: str = ""


def list_store(store: Path, var: Path) -> list[Stored]:
    """Return every archive and workflow in `store`, by name and version.

    Bytes are hashed anew: a file that was replaced is named by no release.
    """
    releases = _newest_first(releases_folder(var))
    found = [_stored(path, releases) for path in store.glob("*.[mw]ar")]
    return sorted(found, key=lambda each: (each.name or each.file, _number(each.version)))


def _stored(path: Path, releases: list[Release]) -> Stored:
    named = _FILE.match(path.name)
    sha256 = sha256_file(path)
    stored = Stored(
        file=path.name,
        name=named["name"] if named else path.stem if path.suffix == ".war" else None,
        version=named["version"] if named else None,
        sha256=sha256,
        size_bytes=path.stat().st_size,
    )
    if named is None:
        return stored
    name, version = named["name"], named["version"]
    for place, release in enumerate(releases):
        model = release.models.get(name)
        pinned = {**model.versions, **model.standby}.get(version) if model is not None else None
        if model is not None and pinned is not None and pinned.sha256 == sha256:
            role = roles(model, version) if place == 0 else ""
            return replace(stored, release=release.release, role=role)
    return stored


def _newest_first(folder: Path) -> list[Release]:
    return [read_release(folder, number) for number in range(newest_number(folder), 0, -1)]


def _number(version: str | None) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")) if version is not None else ()
