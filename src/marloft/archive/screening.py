"""What no archive may hold: secrets, and pickles, which run code when they are read."""

import fnmatch
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

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


def screen(member: str, source: Path | bytes, *, is_artifact: bool = False) -> None:
    """Refuse a member that looks like a secret or is a pickle.

    An artifact's content is not searched for secrets: it is what an export wrote, by its sidecar.

    Raises:
        ArchiveError: with the member's name, and what was found in it.
    """
    names = [member] if isinstance(source, bytes) else [member, source.name]
    if any(map(_is_secret_name, names)):
        raise ArchiveError(
            f"member {member!r} has the name of a file with secrets; an archive is copied and "
            "kept, so leave it out and give secrets to the worker's environment."
        )
    kind = _pickle_kind(member, source)
    if kind is not None:
        raise ArchiveError(
            f"member {member!r} is {kind}; reading a pickle runs code: use ONNX, TorchScript, "
            "NumPy arrays or JSON."
        )
    found = None if is_artifact else _secret_in(source)
    if found is not None:
        raise ArchiveError(
            f"member {member!r} holds {found}; take it out, and replace it where it was valid."
        )


def _is_secret_name(name: str) -> bool:
    parts = PurePosixPath(name.lower()).parts
    return any(part in _SECRET_FOLDERS for part in parts[:-1]) or any(
        fnmatch.fnmatchcase(parts[-1], pattern) for pattern in _SECRET_NAMES
    )


def _secret_in(source: Path | bytes) -> str | None:
    for window in _windows(source):
        for literal, (pattern, what) in _SECRET_MARKS.items():
            if literal in window and pattern.search(window):
                return what
    return None


def _windows(source: Path | bytes) -> Iterator[bytes]:
    """Yield the content in parts that overlap, so that no mark is cut in two."""
    if isinstance(source, bytes):
        yield source
        return
    tail = b""
    with source.open("rb") as stream:
        while block := stream.read(_BLOCK):
            yield tail + block
            tail = block[-_LONGEST_MARK:]


def _pickle_kind(member: str, source: Path | bytes) -> str | None:
    suffixes = {PurePosixPath(member).suffix.lower()}
    if isinstance(source, bytes):
        return None
    suffixes.add(source.suffix.lower())
    with source.open("rb") as stream:
        head = stream.read(512)
        stream.seek(max(0, source.stat().st_size - 1))
        last = stream.read(1)
    if zipfile.is_zipfile(source):
        return _pickle_in_zip(source)
    if head.startswith(_NUMPY):
        return "a NumPy array of Python objects" if b"'|O" in head else None
    # Protocols 2 to 5 begin with PROTO and end with STOP (pickletools).
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05" and last == b".":
        return "a pickle"
    # Of older protocols only the name tells.
    return "a pickle by its name" if suffixes & _PICKLE_SUFFIXES else None


def _pickle_in_zip(source: Path) -> str | None:
    """Tell torch.save and arrays of objects from TorchScript, whose data is read without code."""
    with zipfile.ZipFile(source) as content:
        names = content.namelist()
        torchscript = any(name.endswith("/constants.pkl") for name in names)
        for name in names:
            if PurePosixPath(name).suffix in _PICKLE_SUFFIXES and not torchscript:
                return f"a zip file with the pickle {name}"
            if name.endswith(".npy"):
                with content.open(name) as stream:
                    if b"'|O" in stream.read(512):
                        return f"a NumPy file whose {name} holds Python objects"
    return None
