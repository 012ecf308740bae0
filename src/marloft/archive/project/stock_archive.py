"""Reads an archive of torch-model-archiver with care: nothing in it is trusted or run."""

import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from msgspec import Struct

from marloft.archive.checks.layout import UNREADABLE
from marloft.archive.checks.members import RESERVED, STOCK_MANIFEST, colliding, unsafe_member
from marloft.contract.manifest import ARCHIVE_JSON
from marloft.errors import ArchiveError, ConfigError
from marloft.files import parse_json

_BOMB_RATIO = 100
_BOMB_FLOOR = 1 << 20


class _StockModel(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a stock manifest says of its model; other keys are of no use here."""

    model_name: str
    handler: str
    model_version: str = "1.0"
    serialized_file: str | None = None
    requirements_file: str | None = None
    config_file: str | None = None


class _StockManifest(Struct, frozen=True, kw_only=True):
    model: _StockModel


@dataclass(frozen=True, kw_only=True)
class StockArchive:
    """A stock archive, open for reading."""

    path: Path
    zip: zipfile.ZipFile
    name: str
    version: str
    handler: str
    artifact: str | None
    requirements: str | None
    config: str | None

    @property
    def members(self) -> list[str]:
        """Every file's path."""
        return [info.filename for info in self.zip.infolist() if not info.is_dir()]

    @property
    def modules(self) -> set[str]:
        """The top modules that lie in the archive."""
        python = (name for name in self.members if name.endswith(".py"))
        return {PurePosixPath(name).parts[0].removesuffix(".py") for name in python}

    def open(self, member: str) -> IO[bytes]:
        """Open a member that exists."""
        return self.zip.open(member)

    def content(self, member: str | None) -> bytes | None:
        """Return a member's bytes, None when the archive does not hold it."""
        return self.zip.read(member) if member is not None and member in self.members else None

    def extract(self, member: str, path: Path) -> None:
        """Write a member to `path`, block by block."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with self.open(member) as source, path.open("wb") as target:
            shutil.copyfileobj(source, target)

    def extract_files(self, folder: Path) -> list[str]:
        """Write the members that are the user's own files; return their paths."""
        described = RESERVED | {self.handler, self.artifact, self.requirements, self.config}
        found = [name for name in self.members if name not in described]
        for name in found:
            self.extract(name, folder / name)
        return found


@contextmanager
def read_stock_archive(path: Path) -> Iterator[StockArchive]:
    """Open a stock archive after checking each member's path, kind and size.

    Raises:
        ArchiveError: it is no zip file, holds something unsafe, has no stock manifest, or is an
            archive of marloft's.
    """
    if not path.is_file():
        raise ArchiveError(f"{path} is no file; name an archive of torch-model-archiver.")
    try:
        with zipfile.ZipFile(path) as archive:
            _refuse_unsafe(path, archive)
            yield _read_manifest(path, archive)
    except UNREADABLE as error:
        raise ArchiveError(
            f"{path} is damaged or no zip file ({error}); build it with torch-model-archiver's "
            "default format."
        ) from None


def _refuse_unsafe(path: Path, archive: zipfile.ZipFile) -> None:
    files = [info for info in archive.infolist() if not info.is_dir()]
    for info in files:
        reason = unsafe_member(info)
        if reason is None and info.file_size > max(_BOMB_FLOOR, _BOMB_RATIO * info.compress_size):
            reason = f"it unpacks to {info.file_size:,} bytes: a zip bomb"
        if reason is not None:
            raise ArchiveError(f"{path}: member {info.orig_filename!r}: {reason}; do not use it.")
    clash = colliding(info.filename for info in files)
    if clash is not None:
        raise ArchiveError(f"{path}: two members share the path {clash!r}; build it again.")


def _read_manifest(path: Path, archive: zipfile.ZipFile) -> StockArchive:
    names = archive.namelist()
    if ARCHIVE_JSON in names:
        raise ArchiveError(f"{path} is an archive of marloft's already; use it, or inspect it.")
    if STOCK_MANIFEST not in names:
        raise ArchiveError(f"{path} has no {STOCK_MANIFEST}; it is no TorchServe archive.")
    try:
        manifest: Any = parse_json(archive.read(STOCK_MANIFEST), _StockManifest, STOCK_MANIFEST)
    except ConfigError as error:
        raise ArchiveError(f"{path}: {error}") from None
    model = manifest.model
    artifact = model.serialized_file
    if artifact is not None and artifact not in names:
        raise ArchiveError(f"{path}: its manifest names {artifact!r}, which it does not hold.")
    return StockArchive(
        path=path,
        zip=archive,
        name=model.model_name,
        version=model.model_version,
        # `module.py:function` names an entry point; a name alone one of TorchServe's own handlers.
        handler=model.handler.partition(":")[0],
        artifact=artifact,
        requirements=model.requirements_file,
        config=model.config_file,
    )
