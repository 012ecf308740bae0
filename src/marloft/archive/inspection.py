"""What an archive says about itself, and how two archives differ. Runs no code from either."""

import zipfile
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import msgspec
from msgspec import Struct

from marloft.archive.checks.documents import MODEL_CARD, front_matter
from marloft.archive.checks.members import RESERVED
from marloft.archive.manifest import read_manifest
from marloft.archive.sign import signature_path
from marloft.archive.verify import verify
from marloft.contract.allocation import ALLOCATION_JSON
from marloft.contract.audit import FAIRNESS_JSON, FairnessReport
from marloft.contract.manifest import GOLDEN_JSONL, SCHEMA_JSON, Manifest, WorkerSettings
from marloft.contract.response import Response
from marloft.contract.schema import RowSchema, from_json_schema
from marloft.contract.shown import RANKING
from marloft.errors import ArchiveError
from marloft.files import parse_json

Category = Literal[
    "weights",
    "code",
    "schema",
    "response",
    "settings",
    "card",
    "metrics",
    "golden",
    "members",
]


class Member(Struct, frozen=True, kw_only=True):
    """One member: its size in the archive, unpacked, and its SHA-256."""

    size_bytes: int
    sha256: str


class Description(Struct, frozen=True, kw_only=True):
    """An archive that passed every static check, in its own words.

    `response` is None where the archive declares none. `metrics` are those of the card's metadata;
    `audit` is the worst verdict of the audit inside, None without one; `signed` says that a
    signature lies next to the archive, not that it is good: `marloft verify` tells that.
    """

    file: str
    name: str
    version: str
    sha256: str
    size_bytes: int
    runtime: str | None
    artifact: str | None
    artifact_files: list[str]
    handler: str
    members: dict[str, Member]
    schema: RowSchema | None
    response: Response | None
    settings: WorkerSettings
    accepts: list[str]
    golden_answers: int
    golden_tolerance: float
    requires: dict[str, str]
    parents: dict[str, str]
    sensitive_features_at_serving: list[str]
    metrics: dict[str, float]
    audit: str | None
    signed: bool


class Difference(Struct, frozen=True, kw_only=True):
    """One thing that two archives have differently; None where one of them has it not."""

    category: Category
    what: str
    before: Any
    after: Any


def inspect(path: Path) -> Description:
    """Describe an archive.

    Raises:
        ArchiveError: there is no such file, or it fails a static check.
    """
    report = verify(path)
    failed = next((check for check in report.checks if not check.ok), None)
    if failed is not None:
        raise ArchiveError(
            f"{path}: {failed.code} {failed.culprit}: {failed.message}; `marloft verify {path}` "
            "has all checks. An archive of torch-model-archiver is taken over by `marloft adopt`."
        )
    manifest = read_manifest(path)
    with zipfile.ZipFile(path) as archive:
        return _describe(path, report.sha256, manifest, archive)


def _describe(path: Path, sha256: str, manifest: Manifest, archive: zipfile.ZipFile) -> Description:
    held = {info.filename: info.file_size for info in archive.infolist()}
    schema = None
    if SCHEMA_JSON in held:
        schema = from_json_schema(msgspec.json.decode(archive.read(SCHEMA_JSON)))
    audit = None
    if FAIRNESS_JSON in held:
        audit = parse_json(archive.read(FAIRNESS_JSON), FairnessReport, FAIRNESS_JSON).verdict
    golden = archive.read(GOLDEN_JSONL).splitlines() if GOLDEN_JSONL in held else []
    return Description(
        file=path.name,
        name=manifest.name,
        version=manifest.version,
        sha256=sha256,
        size_bytes=path.stat().st_size,
        runtime=manifest.runtime,
        artifact=manifest.artifact,
        artifact_files=manifest.artifact_members[1:],
        handler=manifest.handler,
        members={
            name: Member(size_bytes=held[name], sha256=digest)
            for name, digest in sorted(manifest.members.items())
        },
        schema=schema,
        response=manifest.declared_response,
        settings=manifest.settings,
        accepts=manifest.accepts,
        golden_answers=len(golden),
        golden_tolerance=manifest.golden_tolerance,
        requires=manifest.requires,
        parents=manifest.parents,
        sensitive_features_at_serving=manifest.sensitive_features_at_serving,
        metrics=_card_metrics(archive.read(MODEL_CARD)) if MODEL_CARD in held else {},
        audit=audit,
        signed=signature_path(path).exists(),
    )


def _card_metrics(card: bytes) -> dict[str, float]:
    """Return the metrics of a card's `model-index`, the form that huggingface_hub writes."""
    found: dict[str, float] = {}
    for model in _listed(front_matter(card.decode()), "model-index"):
        for result in _listed(model, "results"):
            for metric in _listed(result, "metrics"):
                if isinstance(metric, dict) and isinstance(metric.get("value"), int | float):
                    found[str(metric.get("type"))] = metric["value"]
    return found


def _listed(holder: Any, key: str) -> list[Any]:
    value = holder.get(key) if isinstance(holder, dict) else None
    return value if isinstance(value, list) else []


def compare(before: Description, after: Description) -> list[Difference]:
    """Return what differs, by category; name, version and the archives' own hashes left out."""
    pairs: list[tuple[Category, dict[str, Any], dict[str, Any]]] = [
        ("weights", _weights(before), _weights(after)),
        ("code", _members(before, "code"), _members(after, "code")),
        ("schema", _schema(before), _schema(after)),
        ("response", _response(before), _response(after)),
        ("settings", _settings(before), _settings(after)),
        ("card", _members(before, "card"), _members(after, "card")),
        ("metrics", _metrics(before), _metrics(after)),
        ("golden", _members(before, "golden"), _members(after, "golden")),
        ("members", _members(before, "members"), _members(after, "members")),
    ]
    return [
        Difference(category=category, what=what, before=old.get(what), after=new.get(what))
        for category, old, new in pairs
        for what in sorted({*old, *new})
        if old.get(what) != new.get(what)
    ]


def _weights(archive: Description) -> dict[str, Any]:
    hashes = {name: archive.members[name].sha256 for name in archive.artifact_files}
    artifact = archive.artifact and archive.members[archive.artifact].sha256
    parents = {f"parent {name}": sha256 for name, sha256 in archive.parents.items()}
    return {"runtime": archive.runtime, "artifact": artifact, **hashes, **parents}


def _schema(archive: Description) -> dict[str, Any]:
    if archive.schema is None:
        return {}
    rows = {name: msgspec.to_builtins(field) for name, field in archive.schema.row.items()}
    parameters = {
        f"parameter {name}": msgspec.to_builtins(field)
        for name, field in archive.schema.parameters.items()
    }
    return {"max_rows": archive.schema.max_rows, **rows, **parameters}


def _response(archive: Description) -> dict[str, Any]:
    """Return what clients see of a change, `per` also where it is the default."""
    if archive.response is None:
        return {}
    declared: dict[str, Any] = msgspec.to_builtins(archive.response)
    return declared if declared["type"] == RANKING else {**declared, "per": archive.response.per}


def _settings(archive: Description) -> dict[str, Any]:
    return {
        **msgspec.to_builtins(archive.settings),
        "accepts": archive.accepts,
        "golden_tolerance": archive.golden_tolerance,
        "sensitive_features_at_serving": archive.sensitive_features_at_serving,
        **{f"requires {name}": wanted for name, wanted in archive.requires.items()},
    }


def _metrics(archive: Description) -> dict[str, Any]:
    return {**archive.metrics, "audit": archive.audit}


def _members(archive: Description, category: Category) -> dict[str, str]:
    return {
        name: member.sha256
        for name, member in archive.members.items()
        if _category(archive, name) == category
    }


def _category(archive: Description, member: str) -> Category | None:
    """Return the category that compares a member's bytes, None for what other categories read."""
    if PurePosixPath(member).suffix == ".py":
        return "code"
    if member in (MODEL_CARD, FAIRNESS_JSON):
        return "card"
    if member == GOLDEN_JSONL:
        return "golden"
    read_elsewhere = RESERVED - {ALLOCATION_JSON} | {archive.artifact, *archive.artifact_files}
    return None if member in read_elsewhere else "members"
