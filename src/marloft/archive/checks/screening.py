"""What no archive may hold: secrets, and pickles, which run code when they are read."""

import fnmatch
import io
import os
import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from marloft.errors import ArchiveError

# Names that tools give to files of keys and passwords.
_SECRET_NAMES = (
    *(".env", ".env.*", ".netrc", ".pypirc", ".npmrc", ".git-credentials", ".htpasswd"),
    *("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks"),
    *("*.kdbx", "credentials", "credentials.*", "service-account*.json"),
)
_SECRET_FOLDERS = frozenset({".aws", ".git", ".gnupg", ".ssh"})
# A literal that is quick to look for → what has to stand around it.
_SECRET_MARKS: dict[bytes, tuple[re.Pattern[bytes], str]] = {
    b"PRIVATE KEY": (re.compile(rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----"), "a private key"),
    b"AKIA": (re.compile(rb"\bAKIA[0-9A-Z]{16}\b"), "an AWS access key id"),
    b"ASIA": (re.compile(rb"\bASIA[0-9A-Z]{16}\b"), "an AWS access key id"),
    b"ghp_": (re.compile(rb"\bghp_[A-Za-z0-9]{36}\b"), "a GitHub token"),
    b"hf_": (re.compile(rb"\bhf_[A-Za-z]{34}\b"), "a Hugging Face token"),
}
_PICKLE_SUFFIXES = frozenset({".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt", ".dill"})
_BLOCK = 1 << 20
_LONGEST_MARK = 128
_NUMPY = b"\x93NUMPY"
_ZIP = b"PK\x03\x04"


def screen(member: str, source: Path | bytes, *, is_artifact: bool = False) -> None:
    """Refuse a member that looks like a secret or is a pickle.

    An artifact's content is not searched for secrets: it is what an export wrote, by its sidecar.

    Raises:
        ArchiveError: with the member's name, and what was found in it.
    """
    names = {member} if isinstance(source, bytes) else {member, source.name}
    if any(map(secret_name, names)):
        raise ArchiveError(
            f"member {member!r} has the name of a file with secrets; an archive is copied and "
            "kept, so leave it out and give secrets to the worker's environment."
        )
    with _opened(source) as stream:
        kind = pickle_kind(names, stream)
        if kind is not None:
            raise ArchiveError(
                f"member {member!r} is {kind}; reading a pickle runs code: use ONNX, TorchScript, "
                "NumPy arrays or JSON."
            )
        stream.seek(0)
        found = None if is_artifact else secret_in(stream)
    if found is not None:
        raise ArchiveError(
            f"member {member!r} holds {found}; take it out, and replace it where it was valid."
        )


def secret_name(name: str) -> bool:
    """Whether a path is one that tools give to files of keys and passwords."""
    parts = PurePosixPath(name.lower()).parts
    return any(part in _SECRET_FOLDERS for part in parts[:-1]) or any(
        fnmatch.fnmatchcase(parts[-1], pattern) for pattern in _SECRET_NAMES
    )


def secret_in(stream: IO[bytes]) -> str | None:
    """Return what secret a file seems to hold, None if none; memory is independent of its size."""
    for window in _windows(stream):
        for literal, (pattern, what) in _SECRET_MARKS.items():
            if literal in window and pattern.search(window):
                return what
    return None


def pickle_kind(names: Iterable[str], stream: IO[bytes]) -> str | None:
    """Return what kind of pickle a file is, None if it is none.

    Args:
        names: every name it has, in the archive and outside.
        stream: its content from the beginning, seekable.

    Raises:
        OSError, ValueError or zipfile's own: it is a damaged zip file.
    """
    head = stream.read(512)
    if head.startswith(_ZIP) and zipfile.is_zipfile(stream):
        return _pickle_in_zip(stream)
    if head.startswith(_NUMPY):
        return "a NumPy array of Python objects" if b"'|O" in head else None
    # Protocols 2 to 5 begin with PROTO and end with STOP (pickletools).
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        stream.seek(-1, os.SEEK_END)
        if stream.read(1) == b".":
            return "a pickle"
    # Of older protocols only the name tells.
    suffixes = {PurePosixPath(name).suffix.lower() for name in names}
    return "a pickle by its name" if suffixes & _PICKLE_SUFFIXES else None


def _opened(source: Path | bytes) -> IO[bytes]:
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")


def _windows(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield the content in parts that overlap, so that no mark is cut in two."""
    tail = b""
    while block := stream.read(_BLOCK):
        yield tail + block
        tail = block[-_LONGEST_MARK:]


def _pickle_in_zip(stream: IO[bytes]) -> str | None:
    """Tell torch.save and arrays of objects from TorchScript, whose data is read without code."""
    with zipfile.ZipFile(stream) as content:
        names = content.namelist()
        torchscript = any(name.endswith("/constants.pkl") for name in names)
        for name in names:
            if PurePosixPath(name).suffix in _PICKLE_SUFFIXES and not torchscript:
                return f"a zip file with the pickle {name}"
            if name.endswith(".npy"):
                with content.open(name) as array:
                    if b"'|O" in array.read(512):
                        return f"a NumPy file whose {name} holds Python objects"
    return None
