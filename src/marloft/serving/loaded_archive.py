"""An unpacked archive as a worker sees it: its manifest, schema, members and model."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from marloft.contract.manifest import (
    ARCHIVE_JSON,
    GOLDEN_JSONL,
    SCHEMA_JSON,
    GoldenAnswer,
    Manifest,
    WorkerSettings,
    decode_golden,
    workflow_node,
)
from marloft.contract.manifest import Runtime as RuntimeName
from marloft.contract.release import read_release
from marloft.contract.schema import from_json_schema
from marloft.cores import available_cores
from marloft.errors import ArchiveError, MarloftError
from marloft.files import read_json, sha256_file
from marloft.runtimes import Runtime, load_runtime

_SUFFIXES: dict[str, RuntimeName] = {
    ".onnx": "onnx",
    ".torchscript": "torchscript",
    ".plan": "tensorrt",
}
_logger = logging.getLogger(__name__)


class LoadedArchive:
    """The folder TorchServe unpacked an archive into. Built by the handler base, read by `load`.

    `node` is the node of a workflow that the archive runs as, None outside a workflow; `threads`
    are this worker's part of the cores; `accepts` lists the content types of requests; `response`
    is what the archive declares that it answers, None for nothing.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        stock_manifest: dict[str, Any],
        releases: Path | None = None,
    ) -> None:
        """Read `archive.json`; an archive built by hand has none and is described by TorchServe's.

        Args:
            folder: where the members lie.
            name: the name the model is registered under, `<workflow>__<node>` inside a workflow.
            stock_manifest: TorchServe's own `MAR-INF/MANIFEST.json`.
            releases: the folder whose newest release says how many workers this version has;
                without one the archive's own number counts.

        Raises:
            ArchiveError: a member is missing or has other bytes than `archive.json` says.
        """
        self.folder = folder
        described = folder / ARCHIVE_JSON
        self.manifest = read_json(described, Manifest) if described.is_file() else None
        model = stock_manifest.get("model", {})
        self.name, self.node = _identity(name, self.manifest, model)
        if self.manifest is None:
            _logger.warning("%s has no archive.json: served, but unverified.", self.name)
            self.version = str(model.get("modelVersion", "0.0"))
            self._artifact: str | None = model.get("serializedFile")
            self.settings = WorkerSettings()
            self.accepts = ["application/json"]
            self.response = None
        else:
            self.version = self.manifest.version
            self._check_members(self.manifest.members)
            self._artifact = self.manifest.artifact
            self.settings = self.manifest.settings
            self.accepts = self.manifest.accepts
            self.response = self.manifest.declared_response
        self.schema = from_json_schema(msgspec.json.decode(self.path(SCHEMA_JSON).read_bytes()))
        self.threads = max(1, available_cores() // self._workers(releases))

    def path(self, member: str) -> Path:
        """Return the path of a member; raises ArchiveError when the archive does not hold it."""
        path = self.folder / member
        if not path.is_file():
            held = ", ".join(sorted(p.name for p in self.folder.iterdir() if p.is_file()))
            raise ArchiveError(f"{self.name} {self.version} holds no {member!r}; it holds: {held}.")
        return path

    def load_model(self) -> Runtime:
        """Load the archive's artifact with its runtime, on cores / workers threads."""
        if self._artifact is None:
            raise ArchiveError(f"{self.name} {self.version} has no model artifact to load.")
        path = self.path(self._artifact)
        return load_runtime(self._runtime_of(path), path, self.threads)

    def golden(self) -> list[GoldenAnswer]:
        """Return the recorded answers, empty when the archive holds none."""
        path = self.folder / GOLDEN_JSONL
        return decode_golden(path.read_bytes()) if path.is_file() else []

    def _check_members(self, members: Mapping[str, str]) -> None:
        """Compare the unpacked files with the packed ones: a worker may start days later."""
        for member, sha256 in members.items():
            actual = sha256_file(self.path(member))
            if actual != sha256:
                raise ArchiveError(
                    f"{self.name} {self.version}: the unpacked member {member!r} has sha256 "
                    f"{actual[:12]}… but {ARCHIVE_JSON} says {sha256[:12]}…; it was changed: "
                    "unregister this version and register its archive again."
                )

    def _workers(self, releases: Path | None) -> int:
        """Return how many workers share the cores: what the newest release resolved counts."""
        if releases is None:
            return self.settings.workers
        try:
            model = read_release(releases).models.get(self.name)
        except (MarloftError, OSError) as error:
            _logger.info("No release says how many workers run (%s); the archive does.", error)
            return self.settings.workers
        pinned = model.loaded.get(self.version) if model else None
        return (pinned.settings if pinned else self.settings).workers

    def _runtime_of(self, path: Path) -> RuntimeName:
        if self.manifest is not None and self.manifest.runtime is not None:
            return self.manifest.runtime
        if path.suffix not in _SUFFIXES:
            known = ", ".join(_SUFFIXES)
            raise ArchiveError(f"{path.name}: the suffix names no runtime; allowed: {known}.")
        return _SUFFIXES[path.suffix]


def _identity(
    registered: str, manifest: Manifest | None, stock: Mapping[str, Any]
) -> tuple[str, str | None]:
    """Return the archive's own name, and the workflow's node it runs as (None outside one)."""
    own = manifest.name if manifest else str(stock.get("modelName", registered))
    node = workflow_node(registered)
    if node is not None and registered != own:
        return own, node
    return registered, None
