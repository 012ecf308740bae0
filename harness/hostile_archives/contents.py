"""Archives whose contents contradict each other, or should not be in an archive."""

import bz2
import gzip
import io
import lzma
import pickle
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import msgspec

from harness.documents import card_text, fairness_report
from harness.hostile_archives.building import (
    ARCHIVE,
    Members,
    changed,
    flipped,
    rehash,
    without,
    write,
)
from harness.hostile_archives.making import (
    GoodArchive,
    HostileArchive,
    agreeing,
    by_members,
)
from marloft.files import sidecar_path

STOCK = "MAR-INF/MANIFEST.json"
_OTHER = "f" * 64


def _bit(member: str) -> HostileArchive:
    def make(good: GoodArchive, path: Path) -> None:
        write(path, good.members)
        flipped(
            path, path.read_bytes().index(good.members[member]) + len(good.members[member]) // 2
        )

    return HostileArchive(f"bit flipped in {member}", "MRL006", member, make)


def _swap(members: Members) -> Members:
    a, b = members["model.onnx"], members["tables.npz"]
    return members | {"model.onnx": b, "tables.npz": a}


def _sidecar(text: Callable[[bytes], bytes]) -> Callable[[GoodArchive, Path], None]:
    def make(good: GoodArchive, path: Path) -> None:
        write(path, rehash(good.members))
        sidecar_path(path).write_bytes(text(sidecar_path(good.path).read_bytes()))

    return make


def _zipped(members: Members) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def _tarred(name: str, data: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def _zip_bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(1 << 27))
    return file.getvalue()


def _bomb_in_bomb() -> bytes:
    return gzip.compress(gzip.compress(bytes(1 << 27)))


class _Harmless:
    """Pickled as a call, as an attacker's would be; unpickled it prints a word."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return print, ("unpickled",)


def _added(name: str, code: str, member: str, data: bytes) -> HostileArchive:
    return agreeing(name, code, member, lambda members: members | {member: data})


_CALL = pickle.dumps(_Harmless())
_OLD_CALL = pickle.dumps(_Harmless(), 0)
_TEXT = b"some words before it\n" * 50_000
_ELF = b"\x7fELF\x02\x01\x01" + bytes(57)
_TORCH_SAVE = _zipped({"model/data.pkl": pickle.dumps({"weight": 1}), "model/version": b"3"})
# What is found although neither its name nor its first bytes say what it is.
_HIDDEN = (
    _added("pickle of protocol 0", "MRL018", "notes.txt", _OLD_CALL),
    _added("pickle of protocol 1", "MRL018", "notes.txt", pickle.dumps(_Harmless(), 1)),
    _added("pickle that breaks off after its call", "MRL018", "notes.bin", _CALL[:-1] + b"\xff"),
    _added("pickle behind a text", "MRL018", "notes.bin", _TEXT + _CALL),
    _added("pickle of protocol 0 behind a text", "MRL018", "notes.bin", _TEXT + _OLD_CALL),
    _added("pickle, gzip", "MRL018", "notes.gz", gzip.compress(_CALL)),
    _added("pickle of data, gzip", "MRL018", "notes", gzip.compress(pickle.dumps({"a": [1]}))),
    _added("pickle, gzip, behind a text", "MRL018", "notes", _TEXT + gzip.compress(_CALL)),
    _added("pickle, gzip cut short", "MRL018", "notes", gzip.compress(_CALL + _TEXT)[:-20]),
    _added("pickle, bzip2", "MRL018", "notes.bz2", bz2.compress(_CALL)),
    _added("pickle, xz", "MRL018", "notes.xz", lzma.compress(_CALL)),
    _added("pickle, zlib", "MRL018", "notes.z", zlib.compress(_CALL)),
    _added("pickle, gzip of gzip", "MRL018", "notes", gzip.compress(gzip.compress(_CALL))),
    _added("pickle in a zip file", "MRL018", "notes.zip", _zipped({"a/b": _CALL})),
    _added("pickle in a tar file", "MRL018", "notes.tgz", _tarred("a/b", _CALL)),
    _added(
        "pickle as an extra file of TorchScript",
        "MRL018",
        "m.pt",
        _zipped(
            {"m/constants.pkl": b"\x80\x02).", "m/data.pkl": b"\x80\x02).", "m/extra/a": _CALL}
        ),
    ),
    _added(
        "TorchScript file whose pickle calls",
        "MRL018",
        "m.pt",
        _zipped({"m/constants.pkl": b"\x80\x02).", "m/data.pkl": pickle.dumps(_Harmless(), 2)}),
    ),
    _added(
        "compression that cannot be read", "MRL018", "notes.zst", b"\x28\xb5\x2f\xfd" + b"x" * 99
    ),
    agreeing("bomb in a zip file", "MRL018", "notes", lambda m: m | {"notes": _zip_bomb()}),
    agreeing("bomb inside a bomb", "MRL018", "notes", lambda m: m | {"notes": _bomb_in_bomb()}),
    _added("compiled code of the handler", "MRL024", "__pycache__/ranker.cpython-311.pyc", b"x"),
    _added("compiled code without a source", "MRL024", "helpers.pyc", b"x"),
    _added("extension module", "MRL024", "helpers.so", b"x"),
    _added("library of a version", "MRL024", "lib/libhelpers.so.1.2", b"x"),
    _added("module that Python imports by itself", "MRL024", "sitecustomize.py", b""),
    _added("package that Python imports by itself", "MRL024", "usercustomize/__init__.py", b""),
    _added("wheel", "MRL024", "helpers.whl", b"x"),
    _added("program for Linux", "MRL024", "notes.bin", _ELF),
    _added("program behind a text", "MRL024", "notes.txt", _TEXT + _ELF),
    _added("program, gzip", "MRL024", "notes.gz", gzip.compress(_ELF)),
    _added("program in a zip file", "MRL024", "notes.zip", _zipped({"run": _ELF})),
    _added("script", "MRL024", "notes.txt", b"#!/bin/sh\necho hello\n"),
)


CONTENT = (
    by_members("no archive.json", "MRL005", "archive.json", lambda m: without(m, "archive.json")),
    by_members(
        "archive.json is no JSON", "MRL005", "archive.json", lambda m: m | {"archive.json": b"{"}
    ),
    by_members(
        "archive.json without end",
        "MRL005",
        "archive.json",
        lambda m: m | {"archive.json": b"[" * 100_000},
    ),
    by_members(
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
    by_members("members swapped", "MRL006", "model.onnx", _swap),
    by_members(
        "handler changed, zip whole",
        "MRL006",
        "ranker.py",
        lambda m: m | {"ranker.py": m["ranker.py"] + b"\n"},
    ),
    by_members("member added", "MRL007", "extra.txt", lambda m: m | {"extra.txt": b""}),
    by_members("member taken out", "MRL007", "tables.npz", lambda m: without(m, "tables.npz")),
    agreeing("artifact gone", "MRL007", "model.onnx", lambda m: without(m, "model.onnx")),
    agreeing(
        "schema of no type",
        "MRL008",
        "schema.json",
        lambda m: changed(
            m, "schema.json", lambda d: d["items"]["properties"]["item_id"].update(type="x")
        ),
    ),
    agreeing(
        "schema that admits more than is read",
        "MRL008",
        "schema.json",
        lambda m: changed(m, "schema.json", lambda d: d["items"].update(additionalProperties=True)),
    ),
    by_members(
        "accepts what no field takes",
        "MRL008",
        "schema.json",
        lambda m: changed(m, "archive.json", lambda d: d.update(accepts=["image/png"])),
    ),
    agreeing(
        "golden request that the schema refuses",
        "MRL009",
        "golden.jsonl",
        lambda m: m | {"golden.jsonl": m["golden.jsonl"].replace(b'"item_id":50', b'"item":50')},
    ),
    agreeing("no golden line", "MRL009", "golden.jsonl", lambda m: m | {"golden.jsonl": b""}),
    agreeing(
        "manifest of another handler",
        "MRL010",
        STOCK,
        lambda m: changed(m, STOCK, lambda d: d["model"].update(handler="evil.py")),
    ),
    agreeing(
        "manifest of another version",
        "MRL010",
        STOCK,
        lambda m: changed(m, STOCK, lambda d: d["model"].update(modelVersion="2.0")),
    ),
    agreeing("manifest is a list", "MRL010", STOCK, lambda m: m | {STOCK: b"[]"}),
    by_members(
        "made for a later library",
        "MRL011",
        "archive.json",
        lambda m: changed(m, "archive.json", lambda d: d.update(requires={"marloft": ">=99"})),
    ),
    by_members(
        "requires a package that is not installed",
        "MRL011",
        "archive.json",
        lambda m: changed(m, "archive.json", lambda d: d["requires"].update({"no-such": ">=1"})),
    ),
    agreeing("hides numpy", "MRL012", "numpy.py", lambda m: m | {"numpy.py": b""}),
    agreeing("hides json", "MRL012", "json/__init__.py", lambda m: m | {"json/__init__.py": b""}),
    HostileArchive(
        "sidecar of another build", "MRL013", f"{ARCHIVE}.json", _sidecar(lambda data: data)
    ),
    HostileArchive("sidecar is no JSON", "MRL013", f"{ARCHIVE}.json", _sidecar(lambda _: b"\xff")),
    agreeing(
        "card of another model",
        "MRL014",
        "model_card.md",
        lambda m: m | {"model_card.md": card_text(_OTHER).encode()},
    ),
    agreeing(
        "card of empty lines",
        "MRL014",
        "model_card.md",
        lambda m: m | {"model_card.md": b"---\n" + b"\n" * 200_000},
    ),
    agreeing(
        "audit of another model",
        "MRL015",
        "fairness.json",
        lambda m: m | {"fairness.json": msgspec.json.encode(fairness_report(_OTHER))},
    ),
    agreeing("audit without end", "MRL015", "fairness.json", lambda m: m | {"fairness.json": b"{"}),
    agreeing("pickle by name", "MRL018", "extra.PKL", lambda m: m | {"extra.PKL": b""}),
    agreeing(
        "pickle by its bytes", "MRL018", "extra.bin", lambda m: m | {"extra.bin": pickle.dumps(m)}
    ),
    agreeing("file of torch.save", "MRL018", "extra.pt", lambda m: m | {"extra.pt": _TORCH_SAVE}),
    *_HIDDEN,
    agreeing("environment file", "MRL019", ".env", lambda m: m | {".env": b"TOKEN=1"}),
    agreeing(
        "private key in a text",
        "MRL019",
        "notes.txt",
        lambda m: m | {"notes.txt": b"x\n-----BEGIN EC PRIVATE " + b"KEY-----\n"},
    ),
    agreeing(
        "access key in the code",
        "MRL019",
        "ranker.py",
        lambda m: m | {"ranker.py": m["ranker.py"] + b"# AKI" + b"AIOSFODNN7EXAMPLE\n"},
    ),
)
