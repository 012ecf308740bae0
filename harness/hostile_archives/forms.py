"""Archives whose form is wrong: the zip file, its paths, its sizes."""

import io
import stat
import struct
import zipfile
from pathlib import Path

from harness.hostile_archives.building import (
    ARCHIVE,
    append,
    write,
)
from harness.hostile_archives.making import (
    GoodArchive,
    HostileArchive,
    by_bytes,
    by_members,
)


def _path(
    name: str, code: str, member: str, mode: int = stat.S_IFREG, data: bytes = b"x"
) -> HostileArchive:
    def make(good: GoodArchive, path: Path) -> None:
        append(write(path, good.members), member, data, mode)

    return HostileArchive(name, code, member, make)


def _directory(name: str, at: int, value: int) -> HostileArchive:
    """Return one whose tables have another number in the directory; `at` is its offset."""

    def make(good: GoodArchive, path: Path) -> None:
        data = bytearray(write(path, good.members).read_bytes())
        entry = data.rindex(b"tables.npz") - 46
        struct.pack_into("<H", data, entry + at, value)
        path.write_bytes(data)

    return HostileArchive(name, "MRL001", "tables.npz", make)


def _hidden(data: bytes) -> bytes:
    """Put a member between the first and the directory that the directory does not name."""
    secret = io.BytesIO()
    with zipfile.ZipFile(secret, "w") as archive:
        archive.writestr("ranker.py", b"print('hidden')")
    extra = secret.getvalue()[: secret.getvalue().index(b"PK\x01\x02")]
    end = data.rindex(b"PK\x05\x06")
    record = bytearray(data[end:])
    (start,) = struct.unpack_from("<I", record, 16)
    struct.pack_into("<I", record, 16, start + len(extra))
    return data[:start] + extra + data[start:end] + bytes(record)


def _bomb(good: GoodArchive, path: Path) -> None:
    write(path, good.members)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(8 << 20))


FORM = (
    by_bytes("empty file", "MRL001", ARCHIVE, lambda _: b""),
    by_bytes("noise", "MRL001", ARCHIVE, lambda _: bytes(range(256)) * 4),
    by_bytes("cut at a quarter", "MRL001", ARCHIVE, lambda data: data[: len(data) // 4]),
    by_bytes("cut at half", "MRL001", ARCHIVE, lambda data: data[: len(data) // 2]),
    by_bytes("cut by a byte", "MRL001", ARCHIVE, lambda data: data[:-1]),
    by_bytes("first half missing", "MRL001", "MAR-INF/MANIFEST.json", lambda d: d[len(d) // 2 :]),
    by_bytes("prefix", "MRL001", "MAR-INF/MANIFEST.json", lambda data: b"#!/bin/sh\n" + data),
    by_bytes("data behind", "MRL001", ARCHIVE, lambda data: data + b"PK\x03\x04more"),
    by_bytes("comment", "MRL001", ARCHIVE, lambda data: data[:-2] + b"\x02\x00hi"),
    by_bytes("member that the directory hides", "MRL001", ARCHIVE, _hidden),
    _directory("encrypted", 8, 1),
    _directory("of open size", 8, 8),
    _directory("compressed by bzip2", 10, 12),
    _path("zip slip", "MRL002", "../../evil.py"),
    _path("absolute", "MRL002", "/etc/cron.d/evil"),
    _path("drive", "MRL002", "C:evil.py"),
    _path("backslash", "MRL002", "..\\evil.py"),
    _path("NUL in a name", "MRL002", "evil\0.txt"),
    _path("folder as a member", "MRL002", "folder/"),
    _path("name nobody can write", "MRL002", "n" * 300),
    _path("link", "MRL002", "link", stat.S_IFLNK, b"/etc/passwd"),
    _path("device", "MRL002", "device", stat.S_IFCHR),
    _path("handler twice", "MRL003", "ranker.py", data=b"print('other')"),
    _path("handler twice, in capitals", "MRL003", "RANKER.PY", data=b"print('other')"),
    _path("file as a folder", "MRL003", "ranker.py/evil.py"),
    HostileArchive("bomb", "MRL004", "bomb", _bomb),
    by_members(
        "60,000 members",
        "MRL004",
        "",
        lambda members: members | {f"empty/{number}": b"" for number in range(60_000)},
    ),
    by_members(
        "endless document",
        "MRL004",
        "golden.jsonl",
        lambda members: members | {"golden.jsonl": b" " * ((64 << 20) + 1)},
    ),
)
