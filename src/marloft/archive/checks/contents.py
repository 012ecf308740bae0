"""Checks of what an archive holds, once its form is known to be good: hashes, documents, names."""

import hashlib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from marloft.archive.checks.hidden_code import EXECUTABLE, PICKLE, HiddenCode, hidden_code
from marloft.archive.checks.layout import UNREADABLE
from marloft.archive.checks.members import STOCK_MANIFEST, shadowed
from marloft.archive.checks.requirements import unmet
from marloft.archive.checks.secrets import secret_in, secret_name
from marloft.archive.golden import compile_schema, parse_golden
from marloft.archive.golden_comparison import check_expected
from marloft.archive.golden_requests import raw_type
from marloft.contract.check import Check
from marloft.contract.manifest import ARCHIVE_JSON, GOLDEN_JSONL, SCHEMA_JSON, Manifest
from marloft.contract.response import faults
from marloft.contract.schema import RowSchema, from_json_schema, to_json_schema
from marloft.errors import ConfigError
from marloft.version import __version__

_BLOCK = 1 << 20
# What a document of an archive that was written by hand, or to do harm, raises on reading.
UNUSABLE = (ConfigError, KeyError, msgspec.DecodeError, RecursionError, *UNREADABLE)


@dataclass(frozen=True, kw_only=True)
class Content:
    """The members of an open archive."""

    archive: zipfile.ZipFile

    @cached_property
    def names(self) -> dict[str, None]:
        """Every file's path, in the archive's order; folders have no content to check."""
        return {info.filename: None for info in self.archive.infolist() if not info.is_dir()}

    def bytes_of(self, member: str) -> bytes:
        """Return a member's bytes; raises KeyError or one of UNREADABLE."""
        return self.archive.read(member)

    def sha256_of(self, member: str) -> str:
        """Return a member's SHA-256, reading 1 MiB at a time."""
        digest = hashlib.sha256()
        with self.archive.open(member) as stream:
            while block := stream.read(_BLOCK):
                digest.update(block)
        return digest.hexdigest()

    def schema(self) -> RowSchema:
        """Return the row schema; raises one of UNUSABLE."""
        return from_json_schema(msgspec.json.decode(self.bytes_of(SCHEMA_JSON)))


def check_hashes(content: Content, manifest: Manifest) -> Check:
    """MRL006: every member's bytes are those that `archive.json` names."""
    for member, expected in sorted(manifest.members.items()):
        if member not in content.names:
            continue
        try:
            actual = content.sha256_of(member)
        except UNREADABLE as error:
            return Check.failed("MRL006", member, f"cannot be read: {reason(error)}")
        if actual != expected:
            return Check.failed(
                "MRL006", member, f"has sha256 {actual[:12]}…, archive.json says {expected[:12]}…"
            )
    return Check.passed("MRL006", "every member has the hash in archive.json")


def check_members(content: Content, manifest: Manifest) -> Check:
    """MRL007: nothing is missing, nothing is there that `archive.json` does not list."""
    held, listed = set(content.names) - {ARCHIVE_JSON}, set(manifest.members)
    needed = {manifest.handler, STOCK_MANIFEST}
    if manifest.artifact is not None:
        # Code alone may read its bodies by itself; a model's rows are always described.
        needed |= {*manifest.artifact_members, SCHEMA_JSON}
    for member in sorted(held - listed):
        return Check.failed("MRL007", member, "is not listed in archive.json")
    for member in sorted((listed | needed) - held):
        return Check.failed("MRL007", member, "is missing")
    return Check.passed("MRL007", "archive.json lists what is there and nothing else")


def check_schema(content: Content, manifest: Manifest) -> Check:
    """MRL008: `schema.json` says no more than it is read as, and can carry what is accepted."""
    declared = manifest.declared_response
    if declared is not None and (wrong := faults(declared)):
        return Check.failed("MRL008", ARCHIVE_JSON, f"response.{wrong[0]}")
    if SCHEMA_JSON not in content.names:
        return Check.passed("MRL008", "no row schema to check")
    try:
        schema = content.schema()
        compile_schema(schema)
        raw_type(manifest.accepts, schema)
        document = msgspec.json.decode(content.bytes_of(SCHEMA_JSON))
    except UNUSABLE as error:
        return Check.failed("MRL008", SCHEMA_JSON, reason(error))
    if document != to_json_schema(schema):
        return Check.failed("MRL008", SCHEMA_JSON, "says more or other than the rows it is read as")
    return Check.passed("MRL008", f"rows of {', '.join(schema.row)}, at most {schema.max_rows}")


def check_golden(content: Content, manifest: Manifest) -> Check:
    """MRL009: every golden answer is one that schema and declared response admit."""
    if GOLDEN_JSONL not in content.names:
        return Check.passed("MRL009", "no golden answers to check")
    try:
        answers = parse_golden(content.bytes_of(GOLDEN_JSONL), content.schema())
        check_expected(answers, manifest.declared_response)
    except UNUSABLE as error:
        return Check.failed("MRL009", GOLDEN_JSONL, reason(error))
    return Check.passed("MRL009", f"{len(answers)} golden answers fit the schema")


def check_stock_manifest(content: Content, manifest: Manifest) -> Check:
    """MRL010: TorchServe's manifest names the same model, version, handler, artifact."""
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
    except (TypeError, AttributeError, *UNUSABLE) as error:
        return Check.failed("MRL010", STOCK_MANIFEST, reason(error))
    for key, value in wrong.items():
        return Check.failed("MRL010", STOCK_MANIFEST, f"{key} is {value!r}, not {pairs[key]!r}")
    return Check.passed("MRL010", "TorchServe's manifest says the same")


def check_requires(manifest: Manifest) -> Check:
    """MRL011: this version of the library and the packages installed are those it needs."""
    wanted = manifest.requires.get("marloft", "")
    try:
        fits = SpecifierSet(wanted).contains(__version__, prereleases=True)
    except InvalidSpecifier:
        return Check.failed(
            "MRL011", ARCHIVE_JSON, f"requires.marloft {wanted!r} is no version range"
        )
    if not wanted or not fits:
        return Check.failed(
            "MRL011", ARCHIVE_JSON, f"needs marloft {wanted!r}; this is {__version__}"
        )
    missing = unmet(manifest.requires)
    if missing is not None:
        return Check.failed("MRL011", ARCHIVE_JSON, missing)
    return Check.passed("MRL011", f"needs marloft {wanted} and has all else it requires")


def check_shadowing(content: Content) -> Check:
    """MRL012: no member hides a module from the worker."""
    for member in content.names:
        module = shadowed(member)
        if module is not None:
            return Check.failed(
                "MRL012", member, f"would hide the module {module!r} from the worker"
            )
    return Check.passed("MRL012", "no member hides a module")


def check_code(content: Content, manifest: Manifest) -> list[Check]:
    """MRL018 and MRL024: no member is a pickle, or a program that the archive does not name."""
    named = set(manifest.named_executables)
    first: dict[str, Check] = {}
    for member, found in _hidden_code(content, manifest):
        if found.code != EXECUTABLE or member not in named:
            first.setdefault(found.code, Check.failed(found.code, member, f"is {found.what}"))
    passed = {
        PICKLE: "no member is a pickle, looked at from outside and inside",
        EXECUTABLE: f"programs are those that the archive names: {', '.join(sorted(named))}"
        if named
        else "no member is a program or compiled code",
    }
    return [first.get(code) or Check.passed(code, text) for code, text in passed.items()]


def _hidden_code(content: Content, manifest: Manifest) -> Iterator[tuple[str, HiddenCode]]:
    artifact = set(manifest.artifact_members)
    for member in content.names:
        try:
            with content.archive.open(member) as stream:
                found = hidden_code([member], stream, is_artifact=member in artifact)
        except UNREADABLE as error:
            found = HiddenCode(PICKLE, f"a file that cannot be read: {reason(error)}")
        if found is not None:
            yield member, found


def check_secrets(content: Content, manifest: Manifest) -> Check:
    """MRL019: no member looks like a secret; an artifact's bytes are an export's, not searched."""
    artifact = set(manifest.artifact_members)
    for member in content.names:
        if secret_name(member):
            return Check.failed("MRL019", member, "has the name of a file with secrets")
        try:
            with content.archive.open(member) as stream:
                found = None if member in artifact else secret_in(stream)
        except UNREADABLE as error:
            found = f"what cannot be read: {reason(error)}"
        if found is not None:
            return Check.failed("MRL019", member, f"holds {found}")
    return Check.passed("MRL019", "no member looks like a secret")


def reason(error: BaseException) -> str:
    """Return an error's text as one line."""
    return str(error).strip("'\"").splitlines()[0] if str(error) else type(error).__name__
