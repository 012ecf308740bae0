"""What a hostile archive is, and the usual ways to make one from a good one."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from harness.hostile_archives.building import (
    Members,
    read,
    rehash,
    write,
)
from marloft.archive.sign import new_keys
from marloft.contract.policy import TrustPolicy


class GoodArchive(NamedTuple):
    """What hostile archives are made from, with its members, and where the right keys lie."""

    path: Path
    members: Members
    keys: Path

    @property
    def signed(self) -> TrustPolicy:
        """Asks for a signature by the right key."""
        return TrustPolicy(signature="required", public_key=str(self.keys / "marloft.pub"))


class HostileArchive(NamedTuple):
    """One bad archive; `make` writes it to a path and returns the policy that it breaks, if any."""

    name: str
    code: str
    culprit: str
    make: Callable[[GoodArchive, Path], TrustPolicy | None]


def good_archive(path: Path, keys: Path) -> GoodArchive:
    """Return the archive at `path` with a new key pair in `keys`."""
    new_keys(keys)
    return GoodArchive(path, read(path), keys)


def by_bytes(
    name: str, code: str, culprit: str, change: Callable[[bytes], bytes]
) -> HostileArchive:
    """Return one that is the good archive with its bytes changed."""

    def make(good: GoodArchive, path: Path) -> None:
        path.write_bytes(change(good.path.read_bytes()))

    return HostileArchive(name, code, culprit, make)


def by_members(
    name: str, code: str, culprit: str, change: Callable[[Members], Members]
) -> HostileArchive:
    """Return one that is the good archive with its members changed, its hashes as they were."""

    def make(good: GoodArchive, path: Path) -> None:
        write(path, change(good.members))

    return HostileArchive(name, code, culprit, make)


def agreeing(
    name: str, code: str, culprit: str, change: Callable[[Members], Members]
) -> HostileArchive:
    """Return one whose hashes are right again: made on purpose, not by accident."""
    return by_members(name, code, culprit, lambda members: rehash(change(members)))
