"""What no archive may hold: pickles, which run code where they are read, and secrets."""

import os
import re
import zipfile
from pathlib import PurePosixPath
from typing import IO

_PICKLES = (".pkl", ".pickle", ".joblib", ".dill")
# https://docs.python.org/3/library/pickle.html#data-stream-format: PROTO, its number, …, STOP.
_PROTO, _PROTOCOLS, _STOP = 0x80, range(2, 6), b"."
_SECRET_NAMES = re.compile(
    r"(\.env(\..*)?|\.netrc|\.pgpass|\.pypirc|\.git-credentials|id_(rsa|dsa|ecdsa|ed25519)"
    r"|credentials(\.\w+)?|.*\.(pem|key|p12|pfx|jks|keystore))\Z",
    re.IGNORECASE,
)
_SECRETS = re.compile(
    rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
    rb"|\bgh[pousr]_[A-Za-z0-9]{36}\b"
)
SCANNED_BYTES = 4 << 20


def pickled(name: str, stream: IO[bytes]) -> str | None:
    """Return why a member counts as a pickle, None if it does not.

    TorchScript's files hold pickles that only its own restricted reader reads; a file of
    `torch.save`, which is read by Python's, has no `constants.pkl`.

    Args:
        name: the member's path.
        stream: its bytes, from the beginning; must be seekable. A file that cannot be a pickle is
            read no further than its first bytes.
    """
    if PurePosixPath(name).suffix.lower() in _PICKLES:
        return "it is named like a pickle"
    head = stream.read(4)
    if len(head) > 2 and head[0] == _PROTO and head[1] in _PROTOCOLS:
        stream.seek(-1, os.SEEK_END)
        if stream.read(1) == _STOP:
            return "it begins and ends like a pickle"
    if head == b"PK\x03\x04":
        inside = {PurePosixPath(each).name for each in _names(stream)}
        if "data.pkl" in inside and "constants.pkl" not in inside:
            return "it is a file of torch.save, a pickle; export it as TorchScript or ONNX"
    return None


def secret(name: str, head: bytes) -> str | None:
    """Return why a member looks like a secret, None if it does not.

    Args:
        name: the member's path.
        head: its first `SCANNED_BYTES`, or all of them.
    """
    if _SECRET_NAMES.match(PurePosixPath(name).name):
        return "it is named like a file of secrets"
    found = _SECRETS.search(head)
    if found is not None:
        return f"it holds what looks like a secret at byte {found.start()}"
    return None


def _names(stream: IO[bytes]) -> list[str]:
    try:
        with zipfile.ZipFile(stream) as inner:
            return inner.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return []
