"""Archives whose contents contradict each other, or should not be in an archive."""

import io
import pickle
import zipfile
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


def _torch_save() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("model/data.pkl", pickle.dumps({"weight": 1}))
        archive.writestr("model/version", "3")
    return file.getvalue()


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
    agreeing("file of torch.save", "MRL018", "extra.pt", lambda m: m | {"extra.pt": _torch_save()}),
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
