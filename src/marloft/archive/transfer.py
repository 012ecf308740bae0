"""Archives to and from a shared folder, whatever fsspec reaches: disks, S3, Google Cloud, HTTP.

https://filesystem-spec.readthedocs.io/en/latest/
"""

import contextlib
import hashlib
import os
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from marloft.archive.sign import signature_path
from marloft.archive.verify import ANY_ORIGIN, VerifyReport, verify
from marloft.contract.manifest import parse_archive_file
from marloft.contract.policy import TrustPolicy
from marloft.errors import ArchiveError, ConfigError
from marloft.files import sha256_file, sidecar_path

_BLOCK = 1 << 20


class Transfer(Struct, frozen=True, kw_only=True):
    """One archive that is now on both sides; `copied` names the files that were not before."""

    archive: str
    url: str
    sha256: str
    copied: list[str]


class _SharedFolder:
    """A folder that fsspec reaches."""

    def __init__(self, url: str) -> None:
        self.url = url
        with _fsspec_errors(url):
            # Of the extra `store`: only who shares archives has it.
            from fsspec.core import url_to_fs  # noqa: PLC0415

            self._fs, root = url_to_fs(url)
        self._root = str(root).rstrip("/")

    def sha256(self, name: str) -> str | None:
        """Return the hash of a file of the folder, None when it has none of this name."""
        digest = hashlib.sha256()
        with _fsspec_errors(self.url):
            try:
                stream: Any = self._fs.open(self._path(name), "rb")
            except FileNotFoundError:
                return None
            with stream:
                while block := stream.read(_BLOCK):
                    digest.update(block)
        return digest.hexdigest()

    def put(self, path: Path) -> None:
        """Copy a file into the folder; it gets its name when all of it is there."""
        partial = self._path(f".{path.name}.{uuid.uuid4().hex}")
        with _fsspec_errors(self.url):
            self._fs.makedirs(self._root, exist_ok=True)
            try:
                self._fs.put_file(str(path), partial)
                self._fs.mv(partial, self._path(path.name))
            finally:
                if self._fs.exists(partial):
                    self._fs.rm_file(partial)

    def get(self, path: Path) -> bool:
        """Copy the folder's file of this name to `path`; return whether there is one."""
        with _fsspec_errors(self.url):
            if not self._fs.exists(self._path(path.name)):
                return False
            self._fs.get_file(self._path(path.name), str(path))
        return True

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


def push(archive: Path, url: str) -> Transfer:
    """Copy an archive, its sidecar and its signature into the folder at `url`.

    The archive comes last, so that whoever sees it sees the others. A sidecar or signature that
    the folder has is replaced by this one, the archive never.

    Raises:
        ArchiveError: it does not pass the static checks, or the folder holds other bytes under
            this version.
        ConfigError: the folder cannot be reached or written, or a package to do so is missing.
    """
    report = _require_accepted(verify(archive), "is not pushed", archive)
    shared = _SharedFolder(url)
    held = shared.sha256(archive.name)
    _refuse_other(held, report.sha256, f"{url}/{archive.name}", archive)
    files = [file for file in _companions(archive) if file.is_file()]
    files += [archive] if held is None else []
    changed = [file for file in files if shared.sha256(file.name) != sha256_file(file)]
    for file in changed:
        shared.put(file)
    return Transfer(
        archive=str(archive),
        url=url,
        sha256=report.sha256,
        copied=[file.name for file in changed],
    )


def pull(archive: Path, url: str, policy: TrustPolicy = ANY_ORIGIN) -> Transfer:
    """Copy an archive, its sidecar and its signature from the folder at `url`, once verified.

    Nothing gets its name in the store before every static check has passed under `policy`. What
    the store has stays: other bytes of the archive or of its signature are refused, and of two
    sidecars the store's own is kept.

    Args:
        archive: where it will lie, `<store>/<name>-<version>.mar`.
        url: the shared folder.
        policy: as for `verify`.

    Raises:
        ArchiveError: the folder has no such archive, it is refused, it says another name or
            version, or the store holds other bytes.
        ConfigError: the folder cannot be reached, or a package to do so is missing.
    """
    shared = _SharedFolder(url)
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=archive.parent, prefix=".pull-") as scratch:
        fetched = Path(scratch) / archive.name
        if not shared.get(fetched):
            raise ArchiveError(f"{url} holds no {archive.name}; push it there, or correct the URL.")
        companions = [file for file in _companions(fetched) if shared.get(file)]
        report = _require_accepted(verify(fetched, policy), f"from {url} is refused", fetched)
        if parse_archive_file(archive.name) != (report.name, report.version):
            raise ArchiveError(
                f"{url}/{archive.name} says that it is {report.name} {report.version}; push it "
                "again under its own name."
            )
        for file in [fetched, *(each for each in companions if each != sidecar_path(fetched))]:
            own = archive.with_name(file.name)
            held = sha256_file(own) if own.exists() else None
            _refuse_other(held, sha256_file(file), own, file)
        found = [*companions, fetched]
        copied = [file.name for file in found if _publish(file, archive.with_name(file.name))]
    return Transfer(archive=str(archive), url=url, sha256=report.sha256, copied=copied)


def _companions(archive: Path) -> list[Path]:
    return [sidecar_path(archive), signature_path(archive)]


def _publish(file: Path, path: Path) -> bool:
    """Give a file its name in the store, at once and never over another; return whether it did."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
    file.chmod(0o644)
    try:
        os.link(file, path)
    except FileExistsError:
        return False
    return True


def _refuse_other(held: str | None, sha256: str, where: Path | str, file: Path) -> None:
    if held is not None and held != sha256:
        raise ArchiveError(
            f"{where} holds other bytes (sha256 {held[:12]}…, {file.name} {sha256[:12]}…); a "
            "version never changes: raise it and pack again, or take the wrong one away."
        )


def _require_accepted(report: VerifyReport, fate: str, archive: Path) -> VerifyReport:
    failed = next((check for check in report.checks if not check.ok), None)
    if failed is not None:
        culprit = f"{failed.culprit}: " if failed.culprit else ""
        raise ArchiveError(
            f"{archive.name} {fate}: {failed.code}: {culprit}{failed.message}; docs/archive.md has "
            "the cure for each code."
        )
    return report


@contextlib.contextmanager
def _fsspec_errors(url: str) -> Iterator[None]:
    """Turn what fsspec, or the library behind it, raises into an error of one line."""
    try:
        yield
    except ImportError as error:
        raise ConfigError(
            f"{url}: a package is missing ({error}); pip install 'marloft[store]' and what fsspec "
            "needs for this kind of URL, such as s3fs."
        ) from None
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(
            f"{url} cannot be used: {reason}; correct the URL, or look whether it can be reached."
        ) from None
