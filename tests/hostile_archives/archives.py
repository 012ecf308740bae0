"""Damaged and hostile archives that no `verify` may accept: what each is, its code, its culprit."""

import io
import json
import pickle
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec

from marloft.archive.sign import new_keys, sign, signature_path
from marloft.contract.policy import TrustPolicy
from marloft.files import sidecar_path
from tests.documents import card_text, fairness_report
from tests.hostile_archives.building import (
    ARCHIVE,
    Members,
    append,
    changed,
    flipped,
    read,
    rehash,
    without,
    write,
)

STOCK = "MAR-INF/MANIFEST.json"


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


def _bytes(name: str, code: str, culprit: str, change: Callable[[bytes], bytes]) -> HostileArchive:
    def make(good: GoodArchive, path: Path) -> None:
        path.write_bytes(change(good.path.read_bytes()))

    return HostileArchive(name, code, culprit, make)


def _members(
    name: str, code: str, culprit: str, change: Callable[[Members], Members]
) -> HostileArchive:
    def make(good: GoodArchive, path: Path) -> None:
        write(path, change(good.members))

    return HostileArchive(name, code, culprit, make)


def _agreeing(
    name: str, code: str, culprit: str, change: Callable[[Members], Members]
) -> HostileArchive:
    """Return one whose hashes are right again: made on purpose, not by accident."""
    return _members(name, code, culprit, lambda members: rehash(change(members)))


def _path(
    name: str, code: str, member: str, mode: int = stat.S_IFREG, data: bytes = b"x"
) -> HostileArchive:
    def make(good: GoodArchive, path: Path) -> None:
        append(write(path, good.members), member, data, mode)

    return HostileArchive(name, code, member, make)


def _bit(member: str) -> HostileArchive:
    def make(good: GoodArchive, path: Path) -> None:
        write(path, good.members)
        flipped(
            path, path.read_bytes().index(good.members[member]) + len(good.members[member]) // 2
        )

    return HostileArchive(f"bit flipped in {member}", "MRL006", member, make)


def _directory(name: str, at: int, value: int) -> HostileArchive:
    """Return one whose tables have another number in the directory; `at` is its offset."""

    def make(good: GoodArchive, path: Path) -> None:
        data = bytearray(write(path, good.members).read_bytes())
        entry = data.rindex(b"tables.npz") - 46
        struct.pack_into("<H", data, entry + at, value)
        path.write_bytes(data)

    return HostileArchive(name, "MRL001", "tables.npz", make)


def _signed(
    name: str, change: Callable[[GoodArchive, Path], object], culprit: str = ""
) -> HostileArchive:
    def make(good: GoodArchive, path: Path) -> TrustPolicy:
        path.write_bytes(good.path.read_bytes())
        change(good, path)
        return good.signed

    return HostileArchive(name, "MRL016", culprit or f"{ARCHIVE}.sig", make)


def _as_it_is(good: GoodArchive, path: Path) -> None:
    """Leave the good archive unsigned."""


def _by_another(good: GoodArchive, path: Path) -> None:
    new_keys(path.parent / "another")
    sign(path, path.parent / "another" / "marloft.key")


def _of_another(good: GoodArchive, path: Path) -> None:
    other = write(path.with_name("other.mar"), without(good.members, "golden.jsonl"))
    sign(other, good.keys / "marloft.key")
    signature_path(other).rename(signature_path(path))


def _changed_after(good: GoodArchive, path: Path) -> None:
    sign(path, good.keys / "marloft.key")
    evil = good.members | {"ranker.py": good.members["ranker.py"] + b"\nimport this\n"}
    write(path, rehash(evil))


def _tampered(good: GoodArchive, path: Path) -> None:
    sign(path, good.keys / "marloft.key")
    bundle = json.loads(signature_path(path).read_bytes())
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = "AAAA"
    signature_path(path).write_text(json.dumps(bundle))


def _without_key(good: GoodArchive, path: Path) -> TrustPolicy:
    path.write_bytes(good.path.read_bytes())
    sign(path, good.keys / "marloft.key")
    return TrustPolicy(signature="required")


def _without_audit(good: GoodArchive, path: Path) -> TrustPolicy:
    write(path, rehash(without(good.members, "fairness.json")))
    return TrustPolicy(fairness="audited")


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


def _sidecar(text: Callable[[bytes], bytes]) -> Callable[[GoodArchive, Path], None]:
    def make(good: GoodArchive, path: Path) -> None:
        write(path, rehash(good.members))
        sidecar_path(path).write_bytes(text(sidecar_path(good.path).read_bytes()))

    return make


def _bomb(good: GoodArchive, path: Path) -> None:
    write(path, good.members)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(8 << 20))


def _torch_save() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps({"weight": 1}))
        archive.writestr("model/version", "3")
    return file.getvalue()


def _swap(members: Members) -> Members:
    a, b = members["model.onnx"], members["tables.npz"]
    return members | {"model.onnx": b, "tables.npz": a}


_OTHER = "f" * 64
FORM = (
    _bytes("empty file", "MRL001", ARCHIVE, lambda _: b""),
    _bytes("noise", "MRL001", ARCHIVE, lambda _: bytes(range(256)) * 4),
    _bytes("cut at a quarter", "MRL001", ARCHIVE, lambda data: data[: len(data) // 4]),
    _bytes("cut at half", "MRL001", ARCHIVE, lambda data: data[: len(data) // 2]),
    _bytes("cut by a byte", "MRL001", ARCHIVE, lambda data: data[:-1]),
    _bytes("first half missing", "MRL001", "MAR-INF/MANIFEST.json", lambda d: d[len(d) // 2 :]),
    _bytes("prefix", "MRL001", "MAR-INF/MANIFEST.json", lambda data: b"#!/bin/sh\n" + data),
    _bytes("data behind", "MRL001", ARCHIVE, lambda data: data + b"PK\x03\x04more"),
    _bytes("comment", "MRL001", ARCHIVE, lambda data: data[:-2] + b"\x02\x00hi"),
    _bytes("member that the directory hides", "MRL001", ARCHIVE, _hidden),
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
    _members(
        "endless document",
        "MRL004",
        "golden.jsonl",
        lambda members: members | {"golden.jsonl": b" " * ((64 << 20) + 1)},
    ),
)
CONTENT = (
    _members("no archive.json", "MRL005", "archive.json", lambda m: without(m, "archive.json")),
    _members(
        "archive.json is no JSON", "MRL005", "archive.json", lambda m: m | {"archive.json": b"{"}
    ),
    _members(
        "archive.json without end",
        "MRL005",
        "archive.json",
        lambda m: m | {"archive.json": b"[" * 100_000},
    ),
    _members(
        "archive.json of a later format",
        "MRL005",
        "archive.json",
        lambda m: changed(m, "archive.json", lambda d: d.update(format=2)),
    ),
    *(
        _bit(member)
        for member in (
            *("ranker.py", "model.onnx", "tables.npz", "schema.json", "golden.jsonl"),
            *("model-config.yaml", "model_card.md", "fairness.json", STOCK),
        )
    ),
    _members("members swapped", "MRL006", "model.onnx", _swap),
    _members(
        "handler changed, zip whole",
        "MRL006",
        "ranker.py",
        lambda m: m | {"ranker.py": m["ranker.py"] + b"\n"},
    ),
    _members("member added", "MRL007", "extra.txt", lambda m: m | {"extra.txt": b""}),
    _members("member taken out", "MRL007", "tables.npz", lambda m: without(m, "tables.npz")),
    _agreeing("artifact gone", "MRL007", "model.onnx", lambda m: without(m, "model.onnx")),
    _agreeing(
        "schema of no type",
        "MRL008",
        "schema.json",
        lambda m: changed(
            m, "schema.json", lambda d: d["items"]["properties"]["item_id"].update(type="x")
        ),
    ),
    _agreeing(
        "schema that admits more than is read",
        "MRL008",
        "schema.json",
        lambda m: changed(m, "schema.json", lambda d: d["items"].update(additionalProperties=True)),
    ),
    _members(
        "accepts what no field takes",
        "MRL008",
        "schema.json",
        lambda m: changed(m, "archive.json", lambda d: d.update(accepts=["image/png"])),
    ),
    _agreeing(
        "golden request that the schema refuses",
        "MRL009",
        "golden.jsonl",
        lambda m: m | {"golden.jsonl": m["golden.jsonl"].replace(b'"item_id":50', b'"item":50')},
    ),
    _agreeing("no golden line", "MRL009", "golden.jsonl", lambda m: m | {"golden.jsonl": b""}),
    _agreeing(
        "manifest of another handler",
        "MRL010",
        STOCK,
        lambda m: changed(m, STOCK, lambda d: d["model"].update(handler="evil.py")),
    ),
    _agreeing(
        "manifest of another version",
        "MRL010",
        STOCK,
        lambda m: changed(m, STOCK, lambda d: d["model"].update(modelVersion="2.0")),
    ),
    _agreeing("manifest is a list", "MRL010", STOCK, lambda m: m | {STOCK: b"[]"}),
    _members(
        "made for a later library",
        "MRL011",
        "archive.json",
        lambda m: changed(m, "archive.json", lambda d: d.update(requires={"marloft": ">=99"})),
    ),
    _members(
        "requires a package that is not installed",
        "MRL011",
        "archive.json",
        lambda m: changed(m, "archive.json", lambda d: d["requires"].update({"no-such": ">=1"})),
    ),
    _agreeing("hides numpy", "MRL012", "numpy.py", lambda m: m | {"numpy.py": b""}),
    _agreeing("hides json", "MRL012", "json/__init__.py", lambda m: m | {"json/__init__.py": b""}),
    HostileArchive(
        "sidecar of another build", "MRL013", f"{ARCHIVE}.json", _sidecar(lambda data: data)
    ),
    HostileArchive("sidecar is no JSON", "MRL013", f"{ARCHIVE}.json", _sidecar(lambda _: b"\xff")),
    _agreeing(
        "card of another model",
        "MRL014",
        "model_card.md",
        lambda m: m | {"model_card.md": card_text(_OTHER).encode()},
    ),
    _agreeing(
        "card of empty lines",
        "MRL014",
        "model_card.md",
        lambda m: m | {"model_card.md": b"---\n" + b"\n" * 200_000},
    ),
    _agreeing(
        "audit of another model",
        "MRL015",
        "fairness.json",
        lambda m: m | {"fairness.json": msgspec.json.encode(fairness_report(_OTHER))},
    ),
    _agreeing(
        "audit without end", "MRL015", "fairness.json", lambda m: m | {"fairness.json": b"{"}
    ),
    _agreeing("pickle by name", "MRL018", "extra.PKL", lambda m: m | {"extra.PKL": b""}),
    _agreeing(
        "pickle by its bytes", "MRL018", "extra.bin", lambda m: m | {"extra.bin": pickle.dumps(m)}
    ),
    _agreeing(
        "file of torch.save", "MRL018", "extra.pt", lambda m: m | {"extra.pt": _torch_save()}
    ),
    _agreeing("environment file", "MRL019", ".env", lambda m: m | {".env": b"TOKEN=1"}),
    _agreeing(
        "private key in a text",
        "MRL019",
        "notes.txt",
        lambda m: m | {"notes.txt": b"x\n-----BEGIN EC PRIVATE " + b"KEY-----\n"},
    ),
    _agreeing(
        "access key in the code",
        "MRL019",
        "ranker.py",
        lambda m: m | {"ranker.py": m["ranker.py"] + b"# AKI" + b"AIOSFODNN7EXAMPLE\n"},
    ),
)
ORIGIN = (
    _signed("not signed", _as_it_is),
    _signed("signed by another", _by_another),
    _signed("signature of another archive", _of_another),
    _signed("changed after it was signed", _changed_after),
    _signed("signature tampered with", _tampered),
    _signed("signature is noise", lambda _, path: signature_path(path).write_bytes(b"\xff" * 99)),
    _signed("signature is an empty object", lambda _, path: signature_path(path).write_text("{}")),
    HostileArchive("no key to check with", "MRL016", f"{ARCHIVE}.sig", _without_key),
    HostileArchive("no audit", "MRL017", "fairness.json", _without_audit),
)
HOSTILE_ARCHIVES = (*FORM, *CONTENT, *ORIGIN)
