"""Finds what looks like a secret: files of keys by their names, keys by their form."""

import fnmatch
import re
from pathlib import PurePosixPath
from typing import IO

from marloft.archive.checks.windows import windows

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
_LONGEST_MARK = 128


def secret_name(name: str) -> bool:
    """Whether a path is one that tools give to files of keys and passwords."""
    parts = PurePosixPath(name.lower()).parts
    return any(part in _SECRET_FOLDERS for part in parts[:-1]) or any(
        fnmatch.fnmatchcase(parts[-1], pattern) for pattern in _SECRET_NAMES
    )


def secret_in(stream: IO[bytes]) -> str | None:
    """Return what secret a file seems to hold, None if none; memory is independent of its size."""
    for window in windows(stream, _LONGEST_MARK):
        for literal, (pattern, what) in _SECRET_MARKS.items():
            if literal in window.data and pattern.search(window.data):
                return what
    return None
