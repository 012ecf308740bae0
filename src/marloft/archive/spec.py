"""`archive_configs/*.yaml`: what goes into one model archive, and the files that it names."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from marloft.archive.golden_requests import raw_type
from marloft.contract.manifest import (
    Artifact,
    Name,
    Runtime,
    Version,
    WorkerSettings,
    artifact_digest,
    workflow_node,
)
from marloft.contract.response import Response
from marloft.contract.response import faults as response_faults
from marloft.contract.schema import RowSchema, refusal, schema_faults
from marloft.errors import ArchiveError, ConfigError
from marloft.files import read_json, read_plain_yaml, sha256_file, sidecar_path
from marloft.structure_errors import Fault, collect, convert, listed, without

_PATHS = ("handler", "artifact", "golden", "requirements", "card", "audit")
_WILD = frozenset("*?[")
# Compiled code is bound to this Python, and its bytes to the time of its source.
_LEFT_OUT = "__pycache__"


class PackedAllocation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the `allocation.json` of an assign node comes from: an experiment file of `model`."""

    model: Name
    experiment: str


class ArchiveSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One archive as its YAML file describes it; paths are relative to that file.

    `files` maps a path inside the archive to the file that is packed there. In the YAML file the
    value may also be a folder or a glob, and the key the folder that keeps what it finds (`.` for
    the archive's own). `artifact` is absent for an archive that holds code only; otherwise its
    sidecar `<artifact>.json` lies next to it. `requirements` is a pip requirements file.
    `card` and `audit` are what `marloft card` and `marloft fairness audit` wrote about it.
    `schema` is absent for a handler that reads its bodies by itself. `allocation` packs the split
    of an experiment file.
    `golden_tolerance` is the largest absolute difference from a golden score that still counts as
    the same answer. `accepts` lists the content types of requests. `response` says what kind of
    answer it gives. `executables` are the members that are programs or compiled code on purpose.
    """

    name: Name
    version: Version
    handler: str
    schema: RowSchema | None = None
    response: Response | None = None
    artifact: str | None = None
    runtime: Runtime | None = None
    files: dict[str, str] = {}
    executables: list[str] = []
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
        ConfigError: as `parse_spec`; or files it names are missing, links, or named by absolute
            paths.
    """
    spec = parse_spec(config)
    missing: list[str] = []

    def found(key: str, source: str | None) -> Any:
        if source is None:
            return None
        try:
            return str(plain_file(config, key, located(config, key, source)))
        except ConfigError as error:
            missing.append(str(error).removeprefix(f"{config}: "))

    paths = {key: found(key, getattr(spec, key)) for key in _PATHS}
    if spec.allocation is not None:
        experiment = found("allocation.experiment", spec.allocation.experiment)
        paths["allocation"] = msgspec.structs.replace(spec.allocation, experiment=experiment)
    try:
        paths["files"] = expand(config, spec.files)
    except ConfigError as error:
        missing.append(str(error).removeprefix(f"{config}: "))
    if missing:
        raise ConfigError(f"{config}: {listed([Fault((), text) for text in missing])}")
    return msgspec.structs.replace(spec, **paths)


def parse_spec(config: Path) -> ArchiveSpec:
    """Read an archive's YAML file without looking at the files it names.

    Raises:
        ConfigError: the file is missing or no YAML; or every key that is unknown, missing,
            mistyped or out of bounds and everything that its schema cannot mean, each on a line of
            its own; or keys contradict each other, or `accepts` has a type that no field can take.
    """
    document = read_plain_yaml(config)
    structural = collect(document, ArchiveSpec)
    faults = schema_faults(document, structural, ("schema",))
    if not structural:
        spec: ArchiveSpec = convert(document, ArchiveSpec)
        faults += _contradictions(spec, accepts=not faults)
    elif isinstance(document, dict):
        response = _readable_response(document, structural)
        faults += _response_faults(response, described="schema" in document)
    if faults:
        raise refusal(str(config), faults, document, ("schema",))
    return spec


def _contradictions(spec: ArchiveSpec, *, accepts: bool) -> Iterator[Fault]:
    """Yield what keys say against each other; `accepts` only of a schema that is good."""
    if workflow_node(spec.name) is not None:
        text = (
            f"name is {spec.name!r}, which is how TorchServe calls a workflow's node; write one _."
        )
        yield Fault(("name",), text)
    if (spec.artifact is None) != (spec.runtime is None):
        yield Fault((), "artifact and runtime go together; give both or neither.")
    if spec.schema is None and (spec.artifact is not None or spec.golden is not None):
        text = "schema is missing; an archive with an artifact or golden answers needs it."
        yield Fault((), text)
    if spec.schema is not None and accepts:
        try:
            raw_type(spec.accepts, spec.schema)
        except ConfigError as error:
            # A worker would only say it by not starting.
            yield Fault(("accepts",), f"accepts {', '.join(spec.accepts)}: {error}")
    yield from _response_faults(spec.response, described=spec.schema is not None)


def _readable_response(document: dict[str, Any], structural: Sequence[Fault]) -> Response | None:
    """Return the response without what is faulty in its structure, None if nothing is left."""
    try:
        response: Response | None = convert(without(document, structural).get("response"), Response)
    except msgspec.ValidationError:
        return None
    return response


def _response_faults(response: Response | None, *, described: bool) -> Iterator[Fault]:
    if response is None:
        return
    for fault in response_faults(response):
        yield Fault(("response",), f"response.{fault}")
    if not described:
        text = "a handler that reads its bodies by itself answers by itself; leave it out."
        yield Fault(("response",), f"response: {text}")


def read_artifact(artifact: Path, runtime: Runtime) -> Artifact:
    """Return the sidecar of an exported model after comparing it with the model's bytes.

    Raises:
        ConfigError: the sidecar is missing or damaged.
        ArchiveError: the artifact was changed after its export, or is for another runtime.
    """
    sidecar = artifact_sidecar(artifact, runtime)
    hashes = {name: sha256_file(file) for name, file in artifact_files(artifact, sidecar).items()}
    refuse_changed(artifact, sidecar, hashes)
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


def artifact_files(artifact: Path, sidecar: Artifact) -> dict[str, Path]:
    """Return every file that an artifact consists of, by its path next to the artifact.

    Raises:
        ArchiveError: one of them is not there.
    """
    files = {name: artifact.parent / name for name in (artifact.name, *sorted(sidecar.files))}
    for path in files.values():
        if not path.is_file():
            raise ArchiveError(
                f"{artifact} is read from {path} too, which is not there; export it again."
            )
    return files


def refuse_changed(artifact: Path, sidecar: Artifact, hashes: Mapping[str, str]) -> None:
    """Raise ArchiveError if an artifact's bytes are not those of its export.

    Args:
        artifact: its file.
        sidecar: what its export wrote.
        hashes: the SHA-256 of each of its files, by their paths next to it.
    """
    if artifact_digest(hashes) == sidecar.sha256:
        return
    changed = next((n for n, sha256 in sidecar.files.items() if hashes[n] != sha256), artifact.name)
    said = f"{sidecar.files.get(changed, sidecar.sha256)[:12]}…"
    raise ArchiveError(
        f"{artifact.parent / changed} has sha256 {hashes[changed][:12]}… but "
        f"{sidecar_path(artifact)} says {said}; it was changed after its export: export it again."
    )


def located(config: Path, key: str, source: str) -> Path:
    """Return a path of a YAML file relative to the working directory.

    Raises:
        ConfigError: the path is absolute; it would be another file, or none, on another machine.
    """
    if PurePosixPath(source).is_absolute() or PureWindowsPath(source).drive or source[:1] == "~":
        raise ConfigError(
            f"{config}: {key}: {source} is an absolute path, which no other machine has; write it "
            f"relative to {config.parent}."
        )
    return Path(os.path.normpath(config.parent / source))


def plain_file(config: Path, key: str, path: Path) -> Path:
    """Return `path`; raises ConfigError when it is no file, or a link to one."""
    if path.is_symlink():
        raise ConfigError(
            f"{config}: {key}: {path} is a link; name the file that it leads to, {path.readlink()}."
        )
    if not path.is_file():
        raise ConfigError(f"{config}: {key}: {path} is no file; make it or correct the path.")
    return path


def expand(config: Path, files: Mapping[str, str]) -> dict[str, str]:
    """Return member → file for the key `files`, with every folder and glob resolved.

    Raises:
        ConfigError: a path is absolute, missing or a link, a glob finds nothing, or two entries
            give one member.
    """
    found: dict[str, str] = {}
    for member, source in files.items():
        for name, path in _members(config, member, source):
            if name in found:
                raise ConfigError(
                    f"{config}: files: {found[name]} and {path} would both be {name!r}; "
                    "give one of them another name."
                )
            found[name] = str(path)
    return found


def _members(config: Path, member: str, source: str) -> Iterator[tuple[str, Path]]:
    key = f"files.{member}"
    path = located(config, key, source)
    if _WILD.isdisjoint(source):
        if not path.is_dir() or path.is_symlink():
            yield member, plain_file(config, key, path)
            return
        base, inside = path, sorted(path.rglob("*"))
    else:
        base = path
        while not _WILD.isdisjoint(str(base)):
            base = base.parent
        inside = sorted(base.glob(str(path.relative_to(base))))
    kept = [
        (each.relative_to(base), each)
        for each in inside
        if each.is_symlink() or (not each.is_dir() and _LEFT_OUT not in each.parts)
    ]
    if not kept:
        raise ConfigError(f"{config}: {key}: {path} holds no file; correct the path.")
    for relative, each in kept:
        yield str(PurePosixPath(member, *relative.parts)), plain_file(config, key, each)
