"""`archive_configs/*.yaml`: what goes into one model archive."""

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from marloft.archive.golden_requests import raw_type
from marloft.archive.sources import expand, located, plain_file
from marloft.contract.manifest import Artifact, Name, Runtime, Version, WorkerSettings
from marloft.contract.schema import RowSchema
from marloft.errors import ArchiveError, ConfigError
from marloft.files import read_json, read_yaml, sha256_file, sidecar_path


class PackedAllocation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the `allocation.json` of an assign node comes from: an experiment file of `model`."""

    model: Name
    experiment: str


class ArchiveSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One archive as its YAML file describes it; paths are relative to that file.

    `files` maps a path inside the archive to the file that is packed there. In the YAML file the
    value may also be a folder or a glob, and the key the folder that keeps what it finds (`.` for
    the archive's own). `artifact` is absent for an archive that holds code only; otherwise its
    sidecar `<artifact>.json` lies beside it. `requirements` is a pip requirements file.
    `card` and `audit` are what `marloft card` and `marloft fairness audit` wrote about it.
    `schema` is absent for a handler that reads its bodies by itself. `allocation` packs the split
    of an experiment file.
    `golden_tolerance` is the largest absolute difference from a golden score that still counts as
    the same answer. `accepts` lists the content types of requests.
    """

    name: Name
    version: Version
    handler: str
    schema: RowSchema | None = None
    artifact: str | None = None
    runtime: Runtime | None = None
    files: dict[str, str] = {}
    requirements: str | None = None
    allocation: PackedAllocation | None = None
    golden: str | None = None
    golden_tolerance: Annotated[float, Meta(gt=0)] = 1e-4
    settings: WorkerSettings = WorkerSettings()
    accepts: Annotated[list[str], Meta(min_length=1)] = msgspec.field(
        default_factory=lambda: ["application/json"]
    )
    sensitive_features_at_serving: list[str] = []
    card: str | None = None
    audit: str | None = None


def read_spec(config: Path) -> ArchiveSpec:
    """Read an archive's YAML file and make its paths relative to the working directory.

    Raises:
        ConfigError: the file is missing, a key is unknown or mistyped, a file it names is missing,
            a link, or named by an absolute path, or `accepts` has a type that no field can take.
    """
    spec = read_yaml(config, ArchiveSpec)
    if (spec.artifact is None) != (spec.runtime is None):
        raise ConfigError(f"{config}: artifact and runtime go together; give both or neither.")
    if spec.schema is None and (spec.artifact is not None or spec.golden is not None):
        raise ConfigError(
            f"{config}: schema is missing; an archive with an artifact or golden answers needs it."
        )
    _check_accepts(config, spec)
    return msgspec.structs.replace(
        spec,
        handler=_beside(config, "handler", spec.handler),
        artifact=spec.artifact and _beside(config, "artifact", spec.artifact),
        allocation=spec.allocation
        and msgspec.structs.replace(
            spec.allocation,
            experiment=_beside(config, "allocation.experiment", spec.allocation.experiment),
        ),
        golden=spec.golden and _beside(config, "golden", spec.golden),
        requirements=spec.requirements and _beside(config, "requirements", spec.requirements),
        card=spec.card and _beside(config, "card", spec.card),
        audit=spec.audit and _beside(config, "audit", spec.audit),
        files=expand(config, spec.files),
    )


def _check_accepts(config: Path, spec: ArchiveSpec) -> None:
    """Raise ConfigError now for what a worker would only say by not starting."""
    if spec.schema is None:
        return
    try:
        raw_type(spec.accepts, spec.schema)
    except ConfigError as error:
        raise ConfigError(f"{config}: accepts {', '.join(spec.accepts)}: {error}") from None


def read_artifact(artifact: Path, runtime: Runtime) -> Artifact:
    """Return the sidecar of an exported model after comparing it with the model's bytes.

    Raises:
        ConfigError: the sidecar is missing or damaged.
        ArchiveError: the artifact was changed after its export, or is for another runtime.
    """
    sidecar = artifact_sidecar(artifact, runtime)
    refuse_changed(artifact, sidecar, sha256_file(artifact))
    return sidecar


def artifact_sidecar(artifact: Path, runtime: Runtime) -> Artifact:
    """Return the sidecar of an exported model, whose bytes are not read.

    Raises:
        ConfigError: the sidecar is missing or damaged.
        ArchiveError: the artifact is for another runtime.
    """
    sidecar = read_json(sidecar_path(artifact), Artifact)
    if sidecar.runtime != runtime:
        raise ArchiveError(
            f"{artifact} was exported for {sidecar.runtime!r}, not {runtime!r}; correct `runtime`."
        )
    return sidecar


def refuse_changed(artifact: Path, sidecar: Artifact, sha256: str) -> None:
    """Raise ArchiveError if `sha256`, the artifact's hash, is not the one of its export."""
    if sha256 != sidecar.sha256:
        raise ArchiveError(
            f"{artifact} has sha256 {sha256[:12]}… but {sidecar_path(artifact)} says "
            f"{sidecar.sha256[:12]}…; it was changed after its export: export it again."
        )


def _beside(config: Path, key: str, source: str) -> str:
    return str(plain_file(config, key, located(config, key, source)))
