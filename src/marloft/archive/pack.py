"""Builds a model archive whose bytes depend on nothing but what goes into it."""

import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from model_archiver.model_archiver_config import ModelArchiverConfig
from model_archiver.model_packaging_utils import ModelExportUtils

from marloft.archive.checks.documents import MODEL_CARD, check_card, check_fairness
from marloft.archive.checks.lint import handler_class
from marloft.archive.checks.members import RESERVED, STOCK_MANIFEST, colliding, shadowed, unsafe
from marloft.archive.checks.requirements import read_requirements, unmet
from marloft.archive.checks.screening import screen
from marloft.archive.golden import compile_schema, parse_golden
from marloft.archive.golden_comparison import check_expected
from marloft.archive.manifest import make_manifest
from marloft.archive.sandbox.handler_trial import try_handler
from marloft.archive.spec import (
    ArchiveSpec,
    artifact_files,
    artifact_sidecar,
    read_spec,
    refuse_changed,
)
from marloft.archive.zip_writer import Source, ZipWriter
from marloft.contract.allocation import ALLOCATION_JSON, packed_allocation
from marloft.contract.audit import FAIRNESS_JSON
from marloft.contract.manifest import (
    ARCHIVE_JSON,
    GOLDEN_JSONL,
    MODEL_CONFIG,
    SCHEMA_JSON,
    ArchiveSidecar,
    Artifact,
    Measured,
    WorkerSettings,
    archive_path,
)
from marloft.contract.schema import to_json_schema
from marloft.errors import ArchiveError, ConfigError
from marloft.files import read_json, sha256_file, sidecar_path, to_json, write_json
from marloft.text_files import read_utf8
from marloft.version import __version__

Trial = Callable[[Path], Measured]


def pack(
    config: Path, out: Path = Path("model_store"), *, run_handler: bool = True
) -> ArchiveSidecar:
    """Build an archive into the store, once its handler has proved that it works.

    Args:
        config: a file of `archive_configs/`.
        out: the model store.
        run_handler: False for an archive that this machine cannot run, such as a TensorRT engine's;
            the sidecar's `measured` is then None.

    Raises:
        ConfigError: the file, or one it names, is missing or has not the expected form.
        ArchiveError: as `write_archive`.
        HandlerError: the handler fails, with its traceback in `log`; the store is left as it was.
    """
    return write_archive(config, out, trial=try_handler if run_handler else None)


def write_archive(
    config: Path, out: Path = Path("model_store"), *, trial: Trial | None = None
) -> ArchiveSidecar:
    """Build `<out>/<name>-<version>.mar` and its sidecar `<name>-<version>.mar.json`.

    Same inputs give the same bytes, whatever the folder or the day; packing the same inputs again
    changes nothing. Memory does not grow with the artifact.

    Args:
        config: a file of `archive_configs/`.
        out: the model store.
        trial: runs on the built archive before the store gets it, and refuses it by an
            ArchiveError. Not run again for bytes that the store holds tried.

    Raises:
        ConfigError: the file, or one it names, is missing or has not the expected form.
        ArchiveError: members collide, hide a module, are unsafe, secret or pickles; the artifact
            was changed after its export; card or audit are another artifact's; a requirement is
            not installed; the store holds other bytes under this version.
    """
    spec = read_spec(config)
    artifact = _artifact(spec)
    members = _collect(spec, artifact)
    requires = _requires(spec)
    path = archive_path(out, spec.name, spec.version)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".pack-") as staging:
        built = Path(staging) / path.name
        _write(built, spec, members, artifact, requires)
        sidecar = _sidecar(built, spec, config)
        known = _known(path, sidecar.sha256, config)
        if known is not None and (known.measured is not None or trial is None):
            return known
        if trial is not None:
            sidecar = msgspec.structs.replace(sidecar, measured=trial(built))
        if not path.exists():
            built.replace(path)
    write_json(sidecar_path(path), sidecar)
    return sidecar


def _artifact(spec: ArchiveSpec) -> Artifact | None:
    if spec.artifact is None or spec.runtime is None:
        return None
    return artifact_sidecar(Path(spec.artifact), spec.runtime)


def _collect(spec: ArchiveSpec, artifact: Artifact | None) -> dict[str, Source]:
    """Return every member but `archive.json`, by its path in the archive."""
    handler = Path(spec.handler)
    handler_class(read_utf8(handler), str(handler))
    exported = {}
    if artifact is not None and spec.artifact is not None:
        exported = artifact_files(Path(spec.artifact), artifact)
    given = [(handler.name, handler), *exported.items()]
    given += [(member, Path(source)) for member, source in spec.files.items()]
    for name, source in given:
        _check_name(name)
        is_artifact = exported.get(name) == source
        screen(name, source, is_artifact=is_artifact, is_named=name in spec.executables)
    absent = sorted(set(spec.executables) - {name for name, _ in given})
    if absent:
        raise ConfigError(
            f"executables: {absent[0]!r} is no member; write its path under `files` in the archive."
        )
    clash = colliding([name for name, _ in given] + list(RESERVED))
    if clash is not None:
        raise ArchiveError(
            f"two members of {spec.name} {spec.version} share the path {clash!r}; "
            "rename one of them (marloft writes: " + ", ".join(sorted(RESERVED)) + ")."
        )
    return {**dict(given), **_generated(spec), **_documents(spec, artifact)}


def _generated(spec: ArchiveSpec) -> dict[str, Source]:
    generated: dict[str, Source] = {
        MODEL_CONFIG: _model_config(spec.settings),
        STOCK_MANIFEST: _stock_manifest(spec),
    }
    if spec.schema is not None:
        compile_schema(spec.schema)
        generated[SCHEMA_JSON] = to_json(to_json_schema(spec.schema))
    if spec.allocation is not None:
        experiment = Path(spec.allocation.experiment)
        generated[ALLOCATION_JSON] = to_json(packed_allocation(experiment, spec.allocation.model))
    if spec.golden is not None and spec.schema is not None:
        golden = read_utf8(Path(spec.golden))
        check_expected(parse_golden(golden, spec.schema), spec.response)
        screen(GOLDEN_JSONL, golden)
        generated[GOLDEN_JSONL] = golden
    return generated


def _documents(spec: ArchiveSpec, artifact: Artifact | None) -> dict[str, Source]:
    """Return model card and audit after checking that they are about this artifact."""
    sha256 = None if artifact is None else artifact.sha256
    documents: dict[str, Source] = {}
    if spec.card is not None:
        card = read_utf8(Path(spec.card))
        check_card(card, sha256)
        screen(MODEL_CARD, card)
        documents[MODEL_CARD] = card
    if spec.audit is not None:
        audit = read_utf8(Path(spec.audit))
        check_fairness(audit, sha256)
        documents[FAIRNESS_JSON] = audit
    return documents


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


def _requires(spec: ArchiveSpec) -> dict[str, str]:
    requires = {"marloft": _compatible(__version__)}
    if spec.requirements is None:
        return requires
    given = read_requirements(Path(spec.requirements))
    if "marloft" in given:
        raise ConfigError(f"{spec.requirements}: marloft's own range is set by `pack`; remove it.")
    missing = unmet(given)
    if missing is not None:
        raise ArchiveError(
            f"{spec.requirements}: {missing}; TorchServe installs nothing: install it with "
            f"`pip install -r {spec.requirements}`, or correct the range."
        )
    return requires | given


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


def _write(
    path: Path,
    spec: ArchiveSpec,
    members: dict[str, Source],
    artifact: Artifact | None,
    requires: dict[str, str],
) -> None:
    """Write the archive; `archive.json` comes last, when every member's hash is known."""
    with ZipWriter(path) as archive:
        hashes = {name: archive.add(name, members[name]) for name in sorted(members)}
        if artifact is not None and spec.artifact is not None:
            path = Path(spec.artifact)
            exported = {name: hashes[name] for name in (path.name, *artifact.files)}
            refuse_changed(path, artifact, exported)
        archive.add(ARCHIVE_JSON, to_json(make_manifest(spec, hashes, artifact, requires)))


def _compatible(version: str) -> str:
    """Return the versions that read what this one writes: before 1.0 the same minor version."""
    major, minor, *_ = version.split(".")
    if major == "0":
        return f">=0.{minor},<0.{int(minor) + 1}"
    return f">={major}.{minor},<{int(major) + 1}"


def _known(path: Path, sha256: str, config: Path) -> ArchiveSidecar | None:
    """Return the sidecar of the same bytes in the store; refuse other bytes under its name."""
    if not path.exists():
        return None
    held = sha256_file(path)
    if held != sha256:
        raise ArchiveError(
            f"{path} holds other bytes (sha256 {held[:12]}…, this build {sha256[:12]}…); a version "
            f"never changes: raise `version` in {config}."
        )
    sidecar_file = sidecar_path(path)
    if not sidecar_file.exists():
        return None
    known = read_json(sidecar_file, ArchiveSidecar)
    return known if known.sha256 == sha256 else None


def _sidecar(built: Path, spec: ArchiveSpec, config: Path) -> ArchiveSidecar:
    return ArchiveSidecar(
        file=built.name,
        name=spec.name,
        version=spec.version,
        sha256=sha256_file(built),
        size_bytes=built.stat().st_size,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        config=str(config),
    )
