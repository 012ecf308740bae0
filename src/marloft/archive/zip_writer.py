"""Writes reproducible zip files, reading each member's file once."""

import hashlib
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path

Source = Path | bytes
_BLOCK = 1 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)


class ZipWriter:
    """A zip file of stored members with constant times and rights; a context manager.

    The bytes depend on names, contents and their order alone. At the end they are flushed to the
    disk.
    """

    def __init__(self, path: Path) -> None:
        """Create `path`, or empty it."""
        self._path = path
        self._stream = path.open("wb")
        self._zip = zipfile.ZipFile(self._stream, "w", zipfile.ZIP_STORED)

    def __enter__(self) -> "ZipWriter":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            self._zip.close()
            if kind is None:
                self._stream.flush()
                os.fsync(self._stream.fileno())
        finally:
            self._stream.close()
        self._path.chmod(0o644)

    def add(self, name: str, source: Source) -> str:
        """Write one member, 1 MiB at a time; return the SHA-256 of exactly what was written."""
        info = zipfile.ZipInfo(name, _EPOCH)
        info.create_system = 3
        info.external_attr = 0o100644 << 16
        if isinstance(source, bytes):
            self._zip.writestr(info, source)
            return hashlib.sha256(source).hexdigest()
        info.file_size = source.stat().st_size
        digest = hashlib.sha256()
        with source.open("rb") as reader, self._zip.open(info, "w") as writer:
            while block := reader.read(_BLOCK):
                digest.update(block)
                writer.write(block)
        return digest.hexdigest()


def write_zip(path: Path, members: Iterable[tuple[str, Source]]) -> dict[str, str]:
    """Write a whole zip file; return each member's SHA-256."""
    with ZipWriter(path) as archive:
        return {name: archive.add(name, source) for name, source in members}
