"""Archives that do not prove what a policy asks for: a signature, an audit."""

import json
from collections.abc import Callable
from pathlib import Path

from harness.hostile_archives.building import (
    ARCHIVE,
    rehash,
    without,
    write,
)
from harness.hostile_archives.making import GoodArchive, HostileArchive
from marloft.archive.sign import new_keys, sign, signature_path
from marloft.contract.policy import TrustPolicy


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


def _by_another(_: GoodArchive, path: Path) -> None:
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
