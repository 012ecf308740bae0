"""`archive.json`: made from what goes into an archive, and read without unpacking it."""

import zipfile
from pathlib import Path
from typing import Any

from msgspec import UNSET

from marloft.archive.spec import ArchiveSpec
from marloft.contract.manifest import ARCHIVE_JSON, SCHEMA_JSON, Artifact, Manifest
from marloft.contract.schema import RowSchema, from_json_schema
from marloft.errors import ArchiveError
from marloft.files import parse_json


def make_manifest(
    spec: ArchiveSpec,
    hashes: dict[str, str],
    artifact: Artifact | None,
    requires: dict[str, str],
) -> Manifest:
    """Return what an archive says about itself.

    Args:
        spec: the archive's YAML file.
        hashes: each other member's SHA-256, by its path.
        artifact: the artifact's sidecar, None for an archive of code only.
        requires: package → version range.
    """
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
        parents={} if artifact is None else artifact.parents,
        requires=requires,
        sensitive_features_at_serving=spec.sensitive_features_at_serving,
        response=UNSET if spec.response is None else spec.response,
        executables=sorted(spec.executables) or UNSET,
        artifact_files=(sorted(artifact.files) or UNSET) if artifact else UNSET,
    )


def read_manifest(path: Path) -> Manifest:
    """Return the archive's manifest.

    Raises:
        ArchiveError: the file is no archive of marloft's.
        ConfigError: its `archive.json` does not have the expected form.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return parse_json(archive.read(ARCHIVE_JSON), Manifest, f"{path}:{ARCHIVE_JSON}")
    except (zipfile.BadZipFile, KeyError):
        raise ArchiveError(
            f"{path} holds no {ARCHIVE_JSON}; build it with `marloft pack`."
        ) from None


def read_schema(path: Path) -> RowSchema | None:
    """Return the archive's row schema, None for code that reads its bodies itself.

    Raises:
        ArchiveError: the file is no archive.
        ConfigError: its `schema.json` does not have the expected form.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if SCHEMA_JSON not in archive.namelist():
                return None
            where = f"{path}:{SCHEMA_JSON}"
            return from_json_schema(parse_json(archive.read(SCHEMA_JSON), dict[str, Any], where))
    except zipfile.BadZipFile as error:
        raise ArchiveError(f"{path}: {error}; build it with `marloft pack`.") from None
