"""Checks a model archive without running anything from it. docs/archive.md explains each code."""

import hashlib
import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from packaging.specifiers import InvalidSpecifier, SpecifierSet

import marloft
from marloft.archive.documents import document_checks
from marloft.archive.golden import compiled, parse_golden
from marloft.archive.layout import UNREADABLE, layout_fault
from marloft.archive.members import STOCK_MANIFEST, shadowed, unsafe
from marloft.contract.check import Check
from marloft.contract.manifest import (
    ARCHIVE_JSON,
    GOLDEN_JSONL,
    SCHEMA_JSON,
    ArchiveSidecar,
    Manifest,
)
from marloft.contract.schema import RowSchema, from_json_schema
from marloft.errors import ArchiveError, ConfigError
from marloft.files import parse_json, read_json, sha256_file, sidecar_path

_BLOCK = 1 << 20
_BOMB_RATIO = 100
_BOMB_FLOOR = 1 << 20


class VerifyReport(Struct, frozen=True, kw_only=True):
    """What `verify` found in one archive.

    `checks` end at the first stage that makes the next one meaningless. `name` and `version` are
    None when the archive does not say them; `log` is what a handler that failed its replay wrote,
    its traceback included.
    """

    path: str
    sha256: str
    name: str | None
    version: str | None
    checks: list[Check]
    log: str | None = None

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(check.ok for check in self.checks)


def verify(path: Path) -> VerifyReport:
    """Check an archive's form, content hashes, schema, golden answers and manifests.

    Raises:
        ArchiveError: there is no such file. Everything else is a check that is not ok.
    """
    if not path.is_file():
        raise ArchiveError(f"{path} is no file; build it with `marloft pack`.")
    sha256 = sha256_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            manifest, checks = _inspect(archive, path, sha256)
    except UNREADABLE as error:
        manifest = None
        checks = [_failed("MRL001", path.name, f"it is no zip file: {error}")]
    return VerifyReport(
        path=str(path),
        sha256=sha256,
        name=manifest.name if manifest else None,
        version=manifest.version if manifest else None,
        checks=checks,
    )


def _inspect(
    archive: zipfile.ZipFile, path: Path, sha256: str
) -> tuple[Manifest | None, list[Check]]:
    infos = archive.infolist()
    checks = [
        _check_layout(archive, path),
        _check_names(infos),
        _check_duplicates(infos),
        _check_sizes(infos, path.stat().st_size),
    ]
    if not all(check.ok for check in checks):
        return None, checks
    content = _Content(archive=archive)
    try:
        manifest = parse_json(content.bytes_of(ARCHIVE_JSON), Manifest, ARCHIVE_JSON)
    except (ConfigError, KeyError, *UNREADABLE) as error:
        return None, [*checks, _failed("MRL005", ARCHIVE_JSON, _reason(error))]
    artifact = manifest.artifact and manifest.members.get(manifest.artifact, "")
    return manifest, [
        *checks,
        _passed("MRL005", f"archive.json describes {manifest.name} {manifest.version}"),
        _check_hashes(content, manifest),
        _check_members(content, manifest),
        _check_schema(content),
        _check_golden(content),
        _check_stock_manifest(content, manifest),
        _check_requires(manifest),
        _check_shadowing(content),
        _check_sidecar(path, sha256),
        *document_checks(archive, artifact),
    ]


@dataclass(frozen=True, kw_only=True)
class _Content:
    archive: zipfile.ZipFile

    @property
    def names(self) -> list[str]:
        return self.archive.namelist()

    def bytes_of(self, member: str) -> bytes:
        return self.archive.read(member)

    def sha256_of(self, member: str) -> str:
        digest = hashlib.sha256()
        with self.archive.open(member) as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
        return digest.hexdigest()

    def schema(self) -> RowSchema:
        return from_json_schema(msgspec.json.decode(self.bytes_of(SCHEMA_JSON)))


def _check_layout(archive: zipfile.ZipFile, path: Path) -> Check:
    fault = layout_fault(archive, path)
    if fault is not None:
        return _failed("MRL001", *fault)
    return _passed("MRL001", f"a zip file of {len(archive.infolist())} members")


def _check_names(infos: list[zipfile.ZipInfo]) -> Check:
    for info in infos:
        # orig_filename is the stored name: zipfile cuts its own copy at a NUL byte.
        reason = unsafe(info.orig_filename)
        mode = info.external_attr >> 16
        if reason is None and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            reason = "it is a link or a device"
        if reason is not None:
            return _failed("MRL002", info.orig_filename, f"unsafe path: {reason}")
    return _passed("MRL002", "every path stays inside the archive's folder")


def _check_duplicates(infos: list[zipfile.ZipInfo]) -> Check:
    seen: set[str] = set()
    for info in infos:
        if info.filename.casefold() in seen:
            return _failed("MRL003", info.filename, "occurs twice; the last one would run")
        seen.add(info.filename.casefold())
    return _passed("MRL003", "no path occurs twice")


def _check_sizes(infos: list[zipfile.ZipInfo], size_bytes: int) -> Check:
    for info in infos:
        if info.file_size > max(_BOMB_FLOOR, _BOMB_RATIO * info.compress_size):
            return _failed(
                "MRL004", info.filename, f"unpacks to {info.file_size:,} bytes: a zip bomb"
            )
    total = sum(info.file_size for info in infos)
    if total > max(_BOMB_FLOOR, _BOMB_RATIO * size_bytes):
        return _failed("MRL004", "", f"unpacks to {total:,} bytes: a zip bomb")
    return _passed("MRL004", f"unpacks to {total:,} bytes")


def _check_hashes(content: _Content, manifest: Manifest) -> Check:
    for member, expected in sorted(manifest.members.items()):
        if member not in content.names:
            continue
        try:
            actual = content.sha256_of(member)
        except UNREADABLE as error:
            return _failed("MRL006", member, f"cannot be read: {_reason(error)}")
        if actual != expected:
            return _failed(
                "MRL006", member, f"has sha256 {actual[:12]}…, archive.json says {expected[:12]}…"
            )
    return _passed("MRL006", "every member has the hash in archive.json")


def _check_members(content: _Content, manifest: Manifest) -> Check:
    held, listed = set(content.names) - {ARCHIVE_JSON}, set(manifest.members)
    needed = {manifest.handler, STOCK_MANIFEST}
    if manifest.artifact is not None:
        # Code alone may read its bodies by itself; a model's rows are always described.
        needed |= {manifest.artifact, SCHEMA_JSON}
    for member in sorted(held - listed):
        return _failed("MRL007", member, "is not listed in archive.json")
    for member in sorted((listed | needed) - held):
        return _failed("MRL007", member, "is missing")
    return _passed("MRL007", "archive.json lists what is there and nothing else")


def _check_schema(content: _Content) -> Check:
    if SCHEMA_JSON not in content.names:
        return _passed("MRL008", "no row schema to check")
    try:
        schema = content.schema()
        compiled(schema)
    except (ConfigError, KeyError, msgspec.DecodeError, *UNREADABLE) as error:
        return _failed("MRL008", SCHEMA_JSON, _reason(error))
    return _passed("MRL008", f"rows of {', '.join(schema.row)}, at most {schema.max_rows}")


def _check_golden(content: _Content) -> Check:
    if GOLDEN_JSONL not in content.names:
        return _passed("MRL009", "no golden answers to check")
    try:
        answers = parse_golden(content.bytes_of(GOLDEN_JSONL), content.schema())
    except (ConfigError, KeyError, msgspec.DecodeError, *UNREADABLE) as error:
        return _failed("MRL009", GOLDEN_JSONL, _reason(error))
    return _passed("MRL009", f"{len(answers)} golden answers fit the schema")


def _check_stock_manifest(content: _Content, manifest: Manifest) -> Check:
    try:
        stock: Any = msgspec.json.decode(content.bytes_of(STOCK_MANIFEST))
        model = stock["model"]
        pairs = {
            "modelName": manifest.name,
            "modelVersion": manifest.version,
            "handler": manifest.handler,
            "serializedFile": manifest.artifact,
        }
        wrong = {key: model.get(key) for key, value in pairs.items() if model.get(key) != value}
    except (KeyError, TypeError, AttributeError, msgspec.DecodeError, *UNREADABLE) as error:
        return _failed("MRL010", STOCK_MANIFEST, _reason(error))
    for key, value in wrong.items():
        return _failed("MRL010", STOCK_MANIFEST, f"{key} is {value!r}, not {pairs[key]!r}")
    return _passed("MRL010", "TorchServe's manifest says the same")


def _check_requires(manifest: Manifest) -> Check:
    wanted = manifest.requires.get("marloft", "")
    try:
        fits = SpecifierSet(wanted).contains(marloft.__version__, prereleases=True)
    except InvalidSpecifier:
        return _failed("MRL011", ARCHIVE_JSON, f"requires.marloft {wanted!r} is no version range")
    if not wanted or not fits:
        return _failed(
            "MRL011", ARCHIVE_JSON, f"needs marloft {wanted!r}; this is {marloft.__version__}"
        )
    return _passed("MRL011", f"needs marloft {wanted}")


def _check_shadowing(content: _Content) -> Check:
    for member in content.names:
        module = shadowed(member)
        if module is not None:
            return _failed("MRL012", member, f"would hide the module {module!r} from the worker")
    return _passed("MRL012", "no member hides a module")


def _check_sidecar(path: Path, sha256: str) -> Check:
    sidecar = sidecar_path(path)
    if not sidecar.exists():
        return _passed("MRL013", "no sidecar to compare with")
    try:
        recorded = read_json(sidecar, ArchiveSidecar).sha256
    except ConfigError as error:
        return _failed("MRL013", sidecar.name, str(error))
    if recorded != sha256:
        return _failed("MRL013", sidecar.name, f"says sha256 {recorded[:12]}…, not {sha256[:12]}…")
    return _passed("MRL013", "the sidecar names these bytes")


def _passed(code: str, message: str) -> Check:
    return Check(code=code, ok=True, culprit="", message=message)


def _failed(code: str, culprit: str, message: str) -> Check:
    return Check(code=code, ok=False, culprit=culprit, message=message)


def _reason(error: BaseException) -> str:
    return str(error).strip("'\"").splitlines()[0] if str(error) else type(error).__name__
