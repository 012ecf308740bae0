"""Builds a model archive whose bytes depend on nothing but what goes into it."""

import ast
import hashlib
import os
import tempfile
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from model_archiver.model_archiver_config import ModelArchiverConfig
from model_archiver.model_packaging_utils import ModelExportUtils

import marloft
from marloft.archive.documents import MODEL_CARD, check_card, check_fairness
from marloft.archive.golden import compiled, parse_golden
from marloft.archive.members import RESERVED, STOCK_MANIFEST, colliding, shadowed, unsafe
from marloft.archive.spec import ArchiveSpec, read_artifact, read_spec
from marloft.contract.allocation import ALLOCATION_JSON, packed_allocation
from marloft.contract.audit import FAIRNESS_JSON
from marloft.contract.manifest import (
    ARCHIVE_JSON,
    GOLDEN_JSONL,
    MODEL_CONFIG,
    SCHEMA_JSON,
    ArchiveSidecar,
    Manifest,
    WorkerSettings,
)
from marloft.contract.schema import to_json_schema
from marloft.errors import ArchiveError
from marloft.files import read_json, sha256_file, sidecar_path, to_json, write_json

Source = Path | bytes
_BLOCK = 1 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)


def pack(config: Path, out: Path = Path("model_store")) -> ArchiveSidecar:
    """Build `<out>/<name>-<version>.mar` and its sidecar `<name>-<version>.mar.json`.

    Same inputs give the same bytes, whatever the folder or the day; packing the same inputs again
    changes nothing.

    Args:
        config: a file of `archive_configs/`.
        out: the model store.

    Raises:
        ConfigError: the file, or one it names, is missing or has not the expected form.
        ArchiveError: members collide, hide a module or are unsafe; the artifact was changed after
            its export; card or audit are another artifact's; the store holds other bytes under
            this version.
    """
    spec = read_spec(config)
    members = _collect(spec)
    hashes = {name: _sha256(source) for name, source in members.items()}
    members[ARCHIVE_JSON] = to_json(_manifest(spec, hashes))
    path = out / f"{spec.name}-{spec.version}.mar"
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".pack-") as staging:
        built = Path(staging) / path.name
        write_zip(built, members, hashes)
        sha256 = sha256_file(built)
        if not path.exists():
            built.replace(path)
    _refuse_other_bytes(path, sha256, config)
    return _write_sidecar(path, sha256, spec, config)


def _collect(spec: ArchiveSpec) -> dict[str, Source]:
    """Return every member but `archive.json`, by its path in the archive."""
    handler = Path(spec.handler)
    _check_handler(handler)
    given: list[tuple[str, Source]] = [(handler.name, handler)]
    if spec.artifact is not None:
        given.append((Path(spec.artifact).name, Path(spec.artifact)))
    given += [(member, Path(source)) for member, source in spec.files.items()]
    for name, _ in given:
        _check_name(name)
    clash = colliding([name for name, _ in given] + list(RESERVED))
    if clash is not None:
        raise ArchiveError(
            f"two members of {spec.name} {spec.version} share the path {clash!r}; "
            "rename one of them (marloft writes: " + ", ".join(sorted(RESERVED)) + ")."
        )
    return dict(given) | _generated(spec)


def _generated(spec: ArchiveSpec) -> dict[str, Source]:
    generated: dict[str, Source] = {
        MODEL_CONFIG: _model_config(spec.settings),
        STOCK_MANIFEST: _stock_manifest(spec),
    }
    if spec.schema is not None:
        compiled(spec.schema)
        generated[SCHEMA_JSON] = to_json(to_json_schema(spec.schema))
    if spec.allocation is not None:
        experiment = Path(spec.allocation.experiment)
        generated[ALLOCATION_JSON] = to_json(packed_allocation(experiment, spec.allocation.model))
    if spec.golden is not None and spec.schema is not None:
        golden = Path(spec.golden).read_bytes()
        parse_golden(golden, spec.schema)
        generated[GOLDEN_JSONL] = golden
    return generated | _documents(spec)


def _documents(spec: ArchiveSpec) -> dict[str, Source]:
    """Return model card and audit after checking that they are about this artifact."""
    artifact = None
    if spec.artifact is not None and spec.runtime is not None:
        artifact = read_artifact(Path(spec.artifact), spec.runtime).sha256
    documents: dict[str, Source] = {}
    if spec.card is not None:
        card = Path(spec.card).read_bytes()
        check_card(card, artifact)
        documents[MODEL_CARD] = card
    if spec.audit is not None:
        audit = Path(spec.audit).read_bytes()
        check_fairness(audit, artifact)
        documents[FAIRNESS_JSON] = audit
    return documents


def _check_handler(handler: Path) -> None:
    """TorchServe imports the handler by its file name and wants exactly one class in it."""
    try:
        tree = ast.parse(handler.read_bytes())
    except SyntaxError as error:
        raise ArchiveError(f"{handler}:{error.lineno}: {error.msg}; correct the handler.") from None
    classes = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]
    if len(classes) != 1:
        raise ArchiveError(
            f"{handler} defines {len(classes)} classes ({', '.join(classes) or 'none'}); "
            "TorchServe needs exactly one, derived from marloft.serving.Handler."
        )


def _check_name(name: str) -> None:
    reason = unsafe(name)
    if reason is not None:
        raise ArchiveError(f"member {name!r}: {reason}; use a plain relative path.")
    module = shadowed(name)
    if module is not None:
        raise ArchiveError(
            f"member {name!r} would hide the module {module!r} from the worker, since the archive "
            "comes first on its path; rename it."
        )


def _model_config(settings: WorkerSettings) -> bytes:
    """Return TorchServe's own settings file. Workers stay out: minWorkers here beats the API."""
    return (
        f"batchSize: {settings.batch_size}\n"
        f"maxBatchDelay: {settings.max_batch_delay_ms}\n"
        f"responseTimeout: {settings.response_timeout_s}\n"
    ).encode()


def _stock_manifest(spec: ArchiveSpec) -> bytes:
    """Return the manifest torch-model-archiver would write, without its time of creation."""
    text = ModelExportUtils.generate_manifest_json(
        ModelArchiverConfig(
            model_name=spec.name,
            handler=Path(spec.handler).name,
            version=spec.version,
            serialized_file=spec.artifact,
            config_file=MODEL_CONFIG,
        )
    )
    manifest = msgspec.json.decode(text)
    del manifest["createdOn"]
    return to_json(manifest)


def _manifest(spec: ArchiveSpec, hashes: dict[str, str]) -> Manifest:
    parents: dict[str, str] = {}
    if spec.artifact is not None and spec.runtime is not None:
        parents = read_artifact(Path(spec.artifact), spec.runtime).parents
    return Manifest(
        name=spec.name,
        version=spec.version,
        runtime=spec.runtime,
        artifact=spec.artifact and Path(spec.artifact).name,
        handler=Path(spec.handler).name,
        members=hashes,
        settings=spec.settings,
        accepts=spec.accepts,
        golden_tolerance=spec.golden_tolerance,
        parents=parents,
        requires={"marloft": _compatible(marloft.__version__)},
        sensitive_features_at_serving=spec.sensitive_features_at_serving,
    )


def _compatible(version: str) -> str:
    """Return the versions that read what this one writes: before 1.0 the same minor version."""
    major, minor, *_ = version.split(".")
    if major == "0":
        return f">=0.{minor},<0.{int(minor) + 1}"
    return f">={major}.{minor},<{int(major) + 1}"


def _sha256(source: Source) -> str:
    return sha256_file(source) if isinstance(source, Path) else hashlib.sha256(source).hexdigest()


def write_zip(path: Path, members: Mapping[str, Source], hashes: dict[str, str]) -> None:
    """Write stored, sorted members with constant times and rights, and flush them to the disk."""
    with path.open("wb") as stream:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
            for name in sorted(members):
                source = members[name]
                info = zipfile.ZipInfo(name, _EPOCH)
                info.create_system = 3
                info.external_attr = 0o100644 << 16
                if isinstance(source, bytes):
                    archive.writestr(info, source)
                else:
                    _copy(archive, info, source, hashes[name])
        stream.flush()
        os.fsync(stream.fileno())
    path.chmod(0o644)


def _copy(archive: zipfile.ZipFile, info: zipfile.ZipInfo, source: Path, sha256: str) -> None:
    """Stream a file into the archive; refuse it when it is no longer what was hashed."""
    info.file_size = source.stat().st_size
    digest = hashlib.sha256()
    with source.open("rb") as reader, archive.open(info, "w") as writer:
        while block := reader.read(_BLOCK):
            digest.update(block)
            writer.write(block)
    if digest.hexdigest() != sha256:
        raise ArchiveError(f"{source} changed while it was packed; pack again.")


def _refuse_other_bytes(path: Path, sha256: str, config: Path) -> None:
    held = sha256_file(path)
    if held != sha256:
        raise ArchiveError(
            f"{path} holds other bytes (sha256 {held[:12]}…, this build {sha256[:12]}…); a version "
            f"never changes: raise `version` in {config}."
        )


def _write_sidecar(path: Path, sha256: str, spec: ArchiveSpec, config: Path) -> ArchiveSidecar:
    sidecar_file = sidecar_path(path)
    if sidecar_file.exists():
        known = read_json(sidecar_file, ArchiveSidecar)
        if known.sha256 == sha256:
            return known
    sidecar = ArchiveSidecar(
        file=path.name,
        name=spec.name,
        version=spec.version,
        sha256=sha256,
        size_bytes=path.stat().st_size,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        config=str(config),
    )
    write_json(sidecar_file, sidecar)
    return sidecar
