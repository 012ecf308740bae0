"""What is inside a model archive (`archive.json`) and next to an artifact or archive (sidecars)."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from marloft.contract.response import Response
from marloft.files import parse_json

Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,62}\Z")]
Version = Annotated[str, Meta(pattern=r"^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\Z")]
Runtime = Literal["onnx", "torchscript", "tensorrt"]
Positive = Annotated[int, Meta(ge=1)]

ARCHIVE_JSON = "archive.json"
SCHEMA_JSON = "schema.json"
GOLDEN_JSONL = "golden.jsonl"
MODEL_CONFIG = "model-config.yaml"
_NODE_SEPARATOR = "__"
# What to change where an export took the number of rows of its example for a constant.
ROWS_CURE = (
    "export it with a dynamic row axis: `marloft.export_onnx(…)` or `export_torchscript(…)`; "
    'torch\'s own with `dynamo=True, dynamic_shapes={"INPUT": {0: "rows"}}`; '
    "skl2onnx with `[None, COLUMNS]`."
)
_ARCHIVE_FILE = re.compile(r"(?P<name>[a-z][a-z0-9_]*)-(?P<version>\d+\.\d+)\.mar\Z")


def archive_file(name: str, version: str) -> str:
    """Return the file name of an archive: its identity in a model store."""
    return f"{name}-{version}.mar"


def archive_path(store: Path, name: str, version: str) -> Path:
    """Return the path of one version's archive in a model store."""
    return store / archive_file(name, version)


def artifact_digest(files: Mapping[str, str]) -> str:
    """Return the one hash of an artifact: of one file its own, of several that of all of them.

    The latter is the SHA-256 of what `sha256sum` prints of the files, sorted by name.

    Args:
        files: each file's SHA-256, by its path next to the others.
    """
    if len(files) == 1:
        return next(iter(files.values()))
    lines = "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def parse_archive_file(file: str) -> tuple[str, str] | None:
    """Return the model and version that a file name stands for, None when it is not one of ours."""
    found = _ARCHIVE_FILE.match(file)
    return (found["name"], found["version"]) if found else None


def workflow_node(registered: str) -> str | None:
    """Return which node a registered model is, None when it belongs to no workflow.

    TorchServe registers the nodes of a workflow as `<workflow>__<node>`.
    """
    _, separator, node = registered.partition(_NODE_SEPARATOR)
    return node if separator else None


def version_order(version: str) -> tuple[int, ...]:
    """Return what versions are sorted by: 10.0 comes after 9.0."""
    return tuple(int(part) for part in version.split("."))


class WorkerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How TorchServe runs the archive unless `deployment.yaml` says otherwise.

    `max_batch_delay_ms` is at least 1: TorchServe reads 0 in an archive's file as 100.
    """

    workers: Positive = 1
    batch_size: Positive = 16
    max_batch_delay_ms: Positive = 1
    response_timeout_s: Positive = 10


class Manifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`archive.json`: the content of an archive, by hash. Holds no time, path or commit.

    `members` maps each other member's path to its SHA-256; `golden_tolerance` is the largest
    absolute difference from a golden number that still counts as the same answer. `response` is
    absent in an archive that declares none; so are `executables`, the members that are programs or
    compiled code on purpose, and `artifact_files`, what the artifact is read from besides itself.
    """

    format: Literal[1] = 1
    name: Name
    version: Version
    runtime: Runtime | None
    artifact: str | None
    handler: str
    members: dict[str, str]
    settings: WorkerSettings
    accepts: list[str]
    golden_tolerance: float
    parents: dict[str, str]
    requires: dict[str, str]
    sensitive_features_at_serving: list[str]
    response: Response | UnsetType = UNSET
    executables: list[str] | UnsetType = UNSET
    artifact_files: list[str] | UnsetType = UNSET

    @property
    def artifact_members(self) -> list[str]:
        """Every member that the artifact consists of, itself the first; none for code only."""
        others = [] if self.artifact_files is UNSET else self.artifact_files
        return [] if self.artifact is None else [self.artifact, *others]

    @property
    def artifact_sha256(self) -> str | None:
        """The artifact's one hash, None for code only; empty for what is not listed."""
        files = {name: self.members.get(name, "") for name in self.artifact_members}
        return artifact_digest(files) if files else None

    @property
    def named_executables(self) -> list[str]:
        """The members that are programs on purpose, none where the archive says nothing."""
        return [] if self.executables is UNSET else self.executables

    @property
    def declared_response(self) -> Response | None:
        """What the archive says that it answers, None when it says nothing."""
        return None if self.response is UNSET else self.response


class EngineFacts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a TensorRT engine is bound to: it loads nowhere else.

    `compute_capability` is the GPU's, as `"9.0"`; the rows are the least, the usual and the most
    of one run.
    """

    tensorrt: str
    gpu: str
    compute_capability: str
    precision: Literal["fp32", "fp16"]
    min_rows: Positive
    opt_rows: Positive
    max_rows: Positive


class Artifact(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sidecar of an exported model: where it came from and how far it is from its source model.

    `files` are what it is read from besides itself, such as an ONNX graph's external data, each
    with its SHA-256; then `sha256` is `artifact_digest` of all, and `size_bytes` their sum.
    `inputs` maps each input name to its dtype and shape (`n` = rows), as `"int64[n]"`;
    `max_abs_diff` is the largest absolute difference from the source model's scores; `engine` is
    there for TensorRT only.
    """

    file: str
    runtime: Runtime
    sha256: str
    size_bytes: int
    inputs: dict[str, str]
    outputs: dict[str, str]
    parents: dict[str, str]
    max_abs_diff: float
    rows_compared: int
    metrics: dict[str, float]
    created: str
    command: str
    engine: EngineFacts | None = None
    files: dict[str, str] = {}


class GoldenAnswer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of `golden.jsonl`: a request body and what the *source* model answers to it."""

    request: dict[str, Any]
    expected: dict[str, Any]


class Measured(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What running an archive's handler showed when it was packed, on the machine that packed it.

    `load_s` runs from the start of a fresh Python process to a loaded handler; `peak_memory_mb` is
    that process's largest resident size in MiB; `first_request_ms` is the first golden request
    after loading, None without golden answers; `answers` counts the answers that were compared.
    """

    load_s: float
    peak_memory_mb: float
    first_request_ms: float | None
    answers: int


def decode_golden(data: bytes) -> list[GoldenAnswer]:
    """Return the answers of a `golden.jsonl`; raises ConfigError that names a bad line."""
    return [
        parse_json(line, GoldenAnswer, f"{GOLDEN_JSONL}:{number}")
        for number, line in enumerate(data.splitlines(), start=1)
    ]


class ArchiveSidecar(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`<archive>.mar.json`: the facts about one build of an archive that change with time.

    `measured` is None when the handler was not run before the archive was written.
    """

    file: str
    name: str
    version: str
    sha256: str
    size_bytes: int
    created: str
    config: str
    measured: Measured | None = None
