"""Secrets and pickles are found, and what resembles them is not."""

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marloft.archive.checks.screening import screen
from marloft.errors import ArchiveError

# Cut in two, so that no scanner takes this file for a leak.
PEM = b"-----BEGIN RSA PRIVATE" + b" KEY-----\nMIIE\n"
AWS = b"key = 'AKIA" + b"IOSFODNN7EXAMPLE'\n"


def _file(folder: Path, content: bytes, name: str = "data.txt") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "name",
    [
        *(".env", ".env.local", "config/id_rsa", "server.pem", "tls.KEY", "credentials.json"),
        *(".aws/config", ".netrc", "a/.git/HEAD", "service-account-7.json"),
    ],
)
def test_name_of_a_secret_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArchiveError, match="name of a file with secrets"):
        screen(name, _file(tmp_path, b"x"))


def test_secret_under_another_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match=r"'notes\.txt' has the name of a file with secrets"):
        screen("notes.txt", _file(tmp_path, b"x", ".env"))


@pytest.mark.parametrize(
    "content", [PEM, AWS, b"x" * ((1 << 20) - 9) + PEM, b"t = 'ghp_" + b"a" * 36 + b"'"]
)
def test_secret_in_the_content_is_refused_wherever_it_stands(
    tmp_path: Path, content: bytes
) -> None:
    with pytest.raises(ArchiveError, match=r"'code\.py' holds a"):
        screen("code.py", _file(tmp_path, content))
    with pytest.raises(ArchiveError, match=r"'code\.py' holds a"):
        screen("code.py", content)


@pytest.mark.parametrize("name", ["keys.npz.txt", "environment.yaml", "credentialing.txt", "pem"])
def test_name_that_resembles_a_secret_is_fine(tmp_path: Path, name: str) -> None:
    screen(name, _file(tmp_path, b"PRIVATE KEY, AKIA and ghp_ are words"))


class _Thing:
    pass


def _torch_save() -> bytes:
    """What torch.save writes, as far as it matters: a zip file around data.pkl."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({}))
        archive.writestr("archive/version", "3")
    return buffer.getvalue()


def _objects() -> bytes:
    buffer = io.BytesIO()
    things: Any = np.array([_Thing(), None], dtype=object)
    np.savez(buffer, things=things, numbers=np.zeros(3))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *(("model.bin", pickle.dumps({"a": 1}, protocol=n)) for n in (2, 3, 4, 5)),
        ("old.pkl", pickle.dumps([1], protocol=0)),
        ("weights.pth", b"anything"),
        ("model.pt", _torch_save()),
        ("tables.npz", _objects()),
    ],
)
def test_pickle_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    with pytest.raises(ArchiveError, match="reading a pickle runs code"):
        screen(name, _file(tmp_path, content, name))


@pytest.mark.slow
def test_exported_program_is_refused(tmp_path: Path) -> None:
    import torch

    program = torch.export.export(torch.nn.Linear(2, 1), (torch.zeros(3, 2),))
    torch.export.save(program, tmp_path / "model.pt2")
    with pytest.raises(ArchiveError, match="reading a pickle runs code"):
        screen("model.pt2", tmp_path / "model.pt2")


def test_program_is_refused_unless_the_configuration_names_it(tmp_path: Path) -> None:
    library = _file(tmp_path, b"\x7fELF\x02\x01\x01" + bytes(99), "fast.so")
    with pytest.raises(ArchiveError, match="is compiled code; a worker could run it"):
        screen("fast.so", library)
    screen("fast.so", library, is_named=True)


def test_pickle_is_refused_whatever_the_configuration_names(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="reading a pickle runs code"):
        screen("a.bin", _file(tmp_path, pickle.dumps([1])), is_named=True)
