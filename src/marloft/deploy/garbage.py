"""`marloft gc`: which archives of the model store may go; what any release names never does."""

import re
import zipfile
from pathlib import Path

from msgspec import Struct

from marloft.archive.describe import read_manifest
from marloft.contract.release import newest_number, read_release, releases_folder
from marloft.deploy.store import Stored, list_store
from marloft.errors import MarloftError

_NODE = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]*\.mar\b")


class Garbage(Struct, frozen=True, kw_only=True):
    """An archive that nothing needs, with its companions (sidecar, signature)."""

    file: str
    size_bytes: int
    companions: list[str]


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
    return {
        f"{name}-{version}.mar"
        for release in every
        for name, model in release.models.items()
        for version in {**model.versions, **model.standby}
    }


def _workflow_files(store: Path) -> set[str]:
    """Return the archives that the specifications inside the store's workflows name."""
    found: set[str] = set()
    for path in store.glob("*.war"):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for member in archive.namelist():
                    found |= {name.decode() for name in _NODE.findall(archive.read(member))}
    return found


def _is_ours(path: Path, each: Stored) -> bool:
    """Whether the archive says of itself what its file name says; a stock one says nothing."""
    try:
        manifest = read_manifest(path)
    except MarloftError:
        return False
    return (manifest.name, manifest.version) == (each.name, each.version)
