"""Reads what an archive says about itself, without unpacking it."""

import zipfile
from pathlib import Path

from marloft.contract.manifest import ARCHIVE_JSON, Manifest
from marloft.errors import ArchiveError
from marloft.files import parse_json


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
