"""Checks a model archive without running anything from it. docs/archive.md explains each code."""

import zipfile
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from marloft.archive.checks.bounded import bounded_check
from marloft.archive.checks.contents import (
    UNUSABLE,
    Content,
    check_code,
    check_hashes,
    check_members,
    check_requires,
    check_secrets,
    check_shadowing,
    check_stock_manifest,
    reason,
)
from marloft.archive.checks.documents import MODEL_CARD, document_checks
from marloft.archive.checks.layout import UNREADABLE, layout_fault
from marloft.archive.checks.members import STOCK_MANIFEST, colliding, unsafe_member
from marloft.archive.checks.policy import check_policy
from marloft.archive.sandbox.confinement import Isolation
from marloft.contract.audit import FAIRNESS_JSON
from marloft.contract.check import Check
from marloft.contract.manifest import (
    ARCHIVE_JSON,
    GOLDEN_JSONL,
    SCHEMA_JSON,
    ArchiveSidecar,
    Manifest,
)
from marloft.contract.policy import TrustPolicy
from marloft.errors import ArchiveError, ConfigError
from marloft.files import parse_json, read_json, sha256_file, sidecar_path

ANY_ORIGIN = TrustPolicy()
# Read whole, so that a stored one could fill the memory without being a bomb by its ratio.
_DOCUMENTS = {ARCHIVE_JSON, SCHEMA_JSON, GOLDEN_JSONL, STOCK_MANIFEST, MODEL_CARD, FAIRNESS_JSON}
_LARGEST_DOCUMENT = 64 << 20
# Far more than a model and its code have; each is opened several times.
_MOST_MEMBERS = 10_000
_BOMB_RATIO = 100
_BOMB_FLOOR = 1 << 20


class VerifyReport(Struct, frozen=True, kw_only=True):
    """What `verify` found in one archive.

    `checks` end at the first stage that fails, since it makes the next one meaningless. `name` and
    `version` are None when the archive does not say them; `log` is what a handler that failed its
    replay wrote, its traceback included, and `isolation` what confined the handler.
    """

    path: str
    sha256: str
    name: str | None
    version: str | None
    checks: list[Check]
    log: str | None = None
    isolation: Isolation | None = None

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(check.ok for check in self.checks)


def verify(path: Path, policy: TrustPolicy = ANY_ORIGIN) -> VerifyReport:
    """Check an archive's form, content hashes, origin, and what its documents say, in this order.

    Reads nothing that an earlier stage has not found good, and runs nothing. The names and sizes
    of members come first, then their hashes, then what `policy` asks for, then whether this
    version of the library may read the rest at all.

    Raises:
        ArchiveError: there is no such file. Everything else is a check that is not ok.
        ConfigError: the policy's public key is not usable.
    """
    if not path.is_file():
        raise ArchiveError(f"{path} is no file; build it with `marloft pack`.")
    sha256 = sha256_file(path)
    try:
        with zipfile.ZipFile(path) as archive:
            manifest, checks = _check_archive(archive, path, sha256, policy)
    except UNREADABLE as error:
        manifest = None
        checks = [Check.failed("MRL001", path.name, f"it is no zip file: {reason(error)}")]
    return VerifyReport(
        path=str(path),
        sha256=sha256,
        name=manifest.name if manifest else None,
        version=manifest.version if manifest else None,
        checks=checks,
    )


def _check_archive(
    archive: zipfile.ZipFile, path: Path, sha256: str, policy: TrustPolicy
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
    content = Content(archive=archive)
    try:
        manifest = parse_json(content.bytes_of(ARCHIVE_JSON), Manifest, ARCHIVE_JSON)
    except UNUSABLE as error:
        return None, [*checks, Check.failed("MRL005", ARCHIVE_JSON, reason(error))]
    described = f"archive.json describes {manifest.name} {manifest.version}"
    checks.append(Check.passed("MRL005", described))
    for stage in _stages(content, manifest, path, sha256, policy):
        checks += stage()
        if not all(check.ok for check in checks):
            break
    return manifest, checks


def _stages(
    content: Content, manifest: Manifest, path: Path, sha256: str, policy: TrustPolicy
) -> tuple[Callable[[], list[Check]], ...]:
    """Return what is checked, in order; a stage that fails makes the next one meaningless."""
    return (
        lambda: [check_hashes(content, manifest), check_members(content, manifest)],
        lambda: check_policy(path, policy),
        lambda: [check_requires(manifest)],
        lambda: [bounded_check("MRL008", content, manifest, path)],
        lambda: [
            bounded_check("MRL009", content, manifest, path),
            check_stock_manifest(content, manifest),
            check_shadowing(content),
            _check_sidecar(path, sha256),
            *document_checks(content.archive, manifest.artifact_sha256),
            *check_code(content, manifest),
            check_secrets(content, manifest),
        ],
    )


def _check_layout(archive: zipfile.ZipFile, path: Path) -> Check:
    fault = layout_fault(archive, path)
    if fault is not None:
        return Check.failed("MRL001", *fault)
    return Check.passed("MRL001", f"a zip file of {len(archive.infolist())} members")


def _check_names(infos: list[zipfile.ZipInfo]) -> Check:
    for info in infos:
        why = unsafe_member(info)
        if why is not None:
            return Check.failed("MRL002", info.orig_filename, f"unsafe path: {why}")
    return Check.passed("MRL002", "every path stays inside the archive's folder")


def _check_duplicates(infos: list[zipfile.ZipInfo]) -> Check:
    seen: set[str] = set()
    for info in infos:
        name = info.filename.casefold().rstrip("/")
        if name in seen:
            return Check.failed("MRL003", info.filename, "occurs twice; the last one would run")
        seen.add(name)
    clash = colliding(info.filename for info in infos if not info.is_dir())
    if clash is not None:
        return Check.failed("MRL003", clash, "uses another member as a folder")
    return Check.passed("MRL003", "no path occurs twice")


def _check_sizes(infos: list[zipfile.ZipInfo], size_bytes: int) -> Check:
    if len(infos) > _MOST_MEMBERS:
        text = f"it has {len(infos):,} members, more than {_MOST_MEMBERS:,}: pack them as one file"
        return Check.failed("MRL004", "", text)
    for info in infos:
        if info.file_size > max(_BOMB_FLOOR, _BOMB_RATIO * info.compress_size):
            return Check.failed(
                "MRL004", info.filename, f"unpacks to {info.file_size:,} bytes: a zip bomb"
            )
        if info.filename in _DOCUMENTS and info.file_size > _LARGEST_DOCUMENT:
            return Check.failed(
                "MRL004", info.filename, f"is larger than {_LARGEST_DOCUMENT >> 20} MiB: a document"
            )
    total = sum(info.file_size for info in infos)
    if total > max(_BOMB_FLOOR, _BOMB_RATIO * size_bytes):
        return Check.failed("MRL004", "", f"unpacks to {total:,} bytes: a zip bomb")
    return Check.passed("MRL004", f"unpacks to {total:,} bytes")


def _check_sidecar(path: Path, sha256: str) -> Check:
    sidecar = sidecar_path(path)
    if not sidecar.exists():
        return Check.passed("MRL013", "no sidecar to compare with")
    try:
        recorded = read_json(sidecar, ArchiveSidecar).sha256
    except ConfigError as error:
        return Check.failed("MRL013", sidecar.name, str(error))
    if recorded != sha256:
        return Check.failed(
            "MRL013", sidecar.name, f"says sha256 {recorded[:12]}…, not {sha256[:12]}…"
        )
    return Check.passed("MRL013", "the sidecar names these bytes")
