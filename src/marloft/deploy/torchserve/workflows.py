"""Workflow archives (`.war`): built with TorchServe's own tool, registered through its API.

https://pytorch.org/serve/workflows.html
"""

import argparse
import tempfile
import zipfile
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from workflow_archiver.workflow_packaging_utils import WorkflowExportUtils

from marloft.archive.zip_writer import write_zip
from marloft.contract.manifest import Name
from marloft.deploy.torchserve.management import REGISTER_S, ManagementClient
from marloft.errors import ConfigError
from marloft.files import read_yaml, sha256_file

# TorchServe wants a time in the manifest; a constant one keeps the bytes the same.
_CREATED = "01/01/1980 00:00:00"
_MANIFEST = "WAR-INF/MANIFEST.json"
# A node that answers before TorchServe listens is not heard: it has to wait 1 ms for a batch, and
# TorchServe to ask again.
_ALLOWED = {
    "batch-size": (2, 1000, "2 to 1000"),
    "max-batch-delay": (1, 1000, "1 to 1000"),
    "retry-attempts": (1, 1000, "1 to 1000"),
    "timeout-ms": (1, 600_000, "1 to 600000"),
}
_Nodes = dict[Name, list[Name]]


class Node(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="kebab"):
    """One node: an archive of the model store, and settings that differ from the workflow's."""

    url: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.mar\Z")]
    min_workers: int | None = None
    max_workers: int | None = None
    batch_size: int | None = None
    max_batch_delay: int | None = None
    retry_attempts: int | None = None
    timeout_ms: int | None = None


class WorkflowSpec(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """TorchServe's workflow specification: settings and nodes under `models`, edges in `dag`."""

    models: dict[str, int | Node]
    dag: Annotated[_Nodes, Meta(min_length=1)]

    @property
    def nodes(self) -> dict[str, Node]:
        """Every node by its name."""
        return {name: node for name, node in self.models.items() if isinstance(node, Node)}

    def setting(self, node: Node, key: str) -> int | None:
        """Return a node's setting: its own, else the workflow's, None when neither has it."""
        own = getattr(node, key.replace("-", "_"))
        given = self.models.get(key) if own is None else own
        return given if isinstance(given, int) else None


class WorkflowArchive(Struct, frozen=True, kw_only=True):
    """A built workflow archive; it has no version, since TorchServe's workflows have none."""

    file: str
    name: str
    sha256: str
    size_bytes: int


def is_workflow(config: Path) -> bool:
    """Whether a YAML file is a workflow's specification: it has the key `dag`."""
    return "dag" in read_yaml(config, dict[str, Any])


def read_workflow(spec_file: Path) -> WorkflowSpec:
    """Read a workflow's specification and refuse what TorchServe would stall or lose requests on.

    Raises:
        ConfigError: a key is unknown, an edge leads nowhere, there is not exactly one first node,
            or a node's settings let its answers be lost.
    """
    spec = read_yaml(spec_file, WorkflowSpec)
    followers = [follower for edges in spec.dag.values() for follower in edges]
    for name in [*spec.dag, *followers]:
        if name not in spec.nodes:
            raise ConfigError(
                f"{spec_file}: dag names {name!r}, which is no node with a url under models; "
                f"nodes: {', '.join(spec.nodes) or 'none'}."
            )
    first = [name for name in spec.dag if name not in followers]
    if len(first) != 1:
        raise ConfigError(
            f"{spec_file}: dag has {len(first)} first nodes ({', '.join(first) or 'a cycle'}); "
            "TorchServe needs exactly one that no edge leads to."
        )
    for name, node in spec.nodes.items():
        _check_settings(spec_file, spec, name, node)
    return spec


def pack_workflow(spec_file: Path, out: Path = Path("model_store")) -> WorkflowArchive:
    """Build `<out>/<folder of spec_file>.war`; same inputs give the same bytes.

    An existing file of the name is replaced: a workflow has no version, the archives it names do.

    Raises:
        ConfigError: the specification is missing or wrong.
    """
    read_workflow(spec_file)
    name = spec_file.resolve().parent.name
    path = out / f"{name}.war"
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".pack-") as scratch:
        members = _normalized(_archived(spec_file, name, Path(scratch)))
        built = Path(scratch) / "normalized.war"
        write_zip(built, sorted(members.items()))
        built.replace(path)
    return WorkflowArchive(
        file=path.name, name=name, sha256=sha256_file(path), size_bytes=path.stat().st_size
    )


class WorkflowApi(ManagementClient):
    """TorchServe's workflows; methods raise ServingError with TorchServe's own words."""

    def registered(self) -> list[str]:
        """Return the names of the registered workflows."""
        return sorted(
            found["workflowName"] for found in self.call("GET", "/workflows")["workflows"]
        )

    def register(self, archive: str) -> None:
        """Register a `.war` of the model store and wait until its nodes' workers are started."""
        self.call("POST", "/workflows", url=archive, answer_s=REGISTER_S)

    def unregister(self, name: str) -> None:
        """Remove a workflow and its nodes; take its traffic away first."""
        self.call("DELETE", f"/workflows/{name}")


def _check_settings(spec_file: Path, spec: WorkflowSpec, name: str, node: Node) -> None:
    """A worker that answers at once is not heard, and a retry predicts and logs twice."""
    for key, (low, high, allowed) in _ALLOWED.items():
        value = spec.setting(node, key)
        if value is None or not low <= value <= high:
            raise ConfigError(
                f"{spec_file}: {key} of node {name!r} is {value}, must be {allowed}, or TorchServe "
                "loses answers; set it under models (docs/workflows.md)."
            )


def _archived(spec_file: Path, name: str, scratch: Path) -> Path:
    """Let torch-workflow-archiver's own code write the archive."""
    content = scratch / "content"
    content.mkdir()
    (content / spec_file.name).write_bytes(spec_file.read_bytes())
    options = argparse.Namespace(workflow_name=name, spec_file=spec_file.name, handler="")
    manifest = WorkflowExportUtils.generate_manifest_json(options)
    WorkflowExportUtils.archive(str(scratch), name, str(content), manifest)
    return scratch / f"{name}.war"


def _normalized(archive: Path) -> dict[str, bytes]:
    """Return the archive's members with a constant time in the manifest."""
    with zipfile.ZipFile(archive) as stream:
        members = {member: stream.read(member) for member in stream.namelist()}
    manifest = msgspec.json.decode(members[_MANIFEST])
    manifest["createdOn"] = _CREATED
    members[_MANIFEST] = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    return members
