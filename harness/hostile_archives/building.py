"""Takes archives apart and puts them together again, right or wrong."""

import hashlib
import json
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from marloft.archive.verify import verify

Members = dict[str, bytes]
ARCHIVE = "ranker-1.0.mar"


def read(path: Path) -> Members:
    """Return an archive's members."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path: Path, members: Members) -> Path:
    """Write members as `pack` would: stored, in order."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def rehash(members: Members) -> Members:
    """Make archive.json agree again, so that only the intended check can fail."""
    described = json.loads(members["archive.json"])
    described["members"] = {
        name: hashlib.sha256(data).hexdigest()
        for name, data in members.items()
        if name != "archive.json"
    }
    return members | {"archive.json": json.dumps(described).encode()}


def changed(members: Members, name: str, change: Callable[[Any], Any]) -> Members:
    """Return the members with one JSON document changed in place."""
    document = json.loads(members[name])
    change(document)
    return members | {name: json.dumps(document).encode()}


def without(members: Members, *names: str) -> Members:
    """Return the members but these."""
    return {name: data for name, data in members.items() if name not in names}


def failed_checks(path: Path) -> list[tuple[str, str]]:
    """Return code and culprit of each check of `verify` that fails."""
    return [(check.code, check.culprit) for check in verify(path).checks if not check.ok]


def flipped(path: Path, at: int) -> None:
    """Flip the lowest bit of one byte of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def append(path: Path, name: str, data: bytes, mode: int = stat.S_IFREG | 0o644) -> None:
    """Add a member of any name and kind behind the others."""
    placeholder = "X" * len(name.encode())
    info = zipfile.ZipInfo(placeholder)
    info.create_system = 3
    info.external_attr = mode << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(info, data)
    # zipfile would correct the name.
    path.write_bytes(path.read_bytes().replace(placeholder.encode(), name.encode()))
