"""The model store: what lies in it and which release names it (`list`), what may go (`gc`)."""

import re
import zipfile
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from marloft.archive.manifest import read_manifest
from marloft.contract.manifest import archive_file, parse_archive_file, version_order
from marloft.contract.release import Release, newest_number, read_release, releases_folder
from marloft.deploy.status import roles
from marloft.errors import MarloftError
from marloft.files import sha256_file

_NODE_ARCHIVE = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]*\.mar\b")


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


class Garbage(Struct, frozen=True, kw_only=True):
    """An archive that nothing needs, with its companions (sidecar, signature)."""

    file: str
    size_bytes: int
    companions: list[str]


def list_store(store: Path, var: Path) -> list[Stored]:
    """Return every archive and workflow in `store`, by name and version.

    Bytes are hashed each time: a file that was replaced is named by no release.
    """
    releases = _newest_first(releases_folder(var))
    found = [_stored(path, releases) for path in store.glob("*.[mw]ar")]
    return sorted(
        found,
        key=lambda each: (
            each.name or each.file,
            version_order(each.version) if each.version else (),
        ),
    )


def find_garbage(store: Path, var: Path, *, keep: int) -> list[Garbage]:
    """Return the archives that may go.

    An archive stays when any release up to now names its model and version (its bytes may be
    needed for a rollback), when a workflow in the store names it, when it is among the `keep`
    newest versions of its model, or when it is not marloft's.

    Args:
        store: the model store.
        var: run-time state: the releases.
        keep: how many versions of each model stay in any case, the highest first.
    """
    archives = list_store(store, var)
    needed = _released_files(var) | _workflow_files(store)
    found = []
    for place, each in _counted(archives):
        path = store / each.file
        if place >= keep and each.file not in needed and _is_ours(path, each):
            companions = sorted(other.name for other in store.glob(f"{each.file}.*"))
            found.append(Garbage(file=each.file, size_bytes=each.size_bytes, companions=companions))
    return found


def delete(store: Path, garbage: list[Garbage]) -> None:
    """Delete archives and then their companions, so that none lies in the store without."""
    for each in garbage:
        for name in (each.file, *each.companions):
            (store / name).unlink(missing_ok=True)


def _stored(path: Path, releases: list[Release]) -> Stored:
    named = parse_archive_file(path.name)
    sha256 = sha256_file(path)
    stored = Stored(
        file=path.name,
        name=named[0] if named else path.stem if path.suffix == ".war" else None,
        version=named[1] if named else None,
        sha256=sha256,
        size_bytes=path.stat().st_size,
    )
    if named is None:
        return stored
    name, version = named
    for place, release in enumerate(releases):
        model = release.models.get(name)
        pinned = model.loaded.get(version) if model is not None else None
        if model is not None and pinned is not None and pinned.sha256 == sha256:
            role = roles(model, version) if place == 0 else ""
            return replace(stored, release=release.release, role=role)
    return stored


def _newest_first(folder: Path) -> list[Release]:
    return [read_release(folder, number) for number in range(newest_number(folder), 0, -1)]


def _counted(archives: list[Stored]) -> list[tuple[int, Stored]]:
    """Return each archive that has a version with its place among its model's, 0 the highest."""
    counts: dict[str, int] = {}
    found = []
    for each in reversed(archives):
        if each.name is not None and each.version is not None:
            found.append((counts.get(each.name, 0), each))
            counts[each.name] = counts.get(each.name, 0) + 1
    return found[::-1]


def _released_files(var: Path) -> set[str]:
    folder = releases_folder(var)
    every = (read_release(folder, number) for number in range(1, newest_number(folder) + 1))
    return {archive_file(name, version) for release in every for name, version in release.loaded}


def _workflow_files(store: Path) -> set[str]:
    """Return the archives that the specifications inside the store's workflows name."""
    found: set[str] = set()
    for path in store.glob("*.war"):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for member in archive.namelist():
                    found |= {name.decode() for name in _NODE_ARCHIVE.findall(archive.read(member))}
    return found


def _is_ours(path: Path, each: Stored) -> bool:
    """Whether the archive says of itself what its file name says; a stock one says nothing."""
    try:
        manifest = read_manifest(path)
    except MarloftError:
        return False
    return (manifest.name, manifest.version) == (each.name, each.version)
