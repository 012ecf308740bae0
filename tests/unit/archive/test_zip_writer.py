"""Zip files depend on names, contents and their order alone."""

import hashlib
import os
import zipfile
from pathlib import Path

from marloft.archive.zip_writer import write_zip


def test_same_members_give_the_same_bytes_whatever_their_files_say(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"content")
    write_zip(tmp_path / "one.zip", [("a", file), ("b", b"more")])
    os.utime(file, (0, 0))
    file.chmod(0o700)
    write_zip(tmp_path / "two.zip", [("a", file), ("b", b"more")])
    write_zip(tmp_path / "other.zip", [("b", b"more"), ("a", file)])
    one = (tmp_path / "one.zip").read_bytes()
    assert (tmp_path / "two.zip").read_bytes() == one
    assert (tmp_path / "other.zip").read_bytes() != one


def test_hashes_are_those_of_what_was_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * (3 << 20))
    path = tmp_path / "a.zip"
    hashes = write_zip(path, [("large", tmp_path / "file"), ("small", b"y")])
    with zipfile.ZipFile(path) as archive:
        for name, sha256 in hashes.items():
            assert hashlib.sha256(archive.read(name)).hexdigest() == sha256
            assert archive.getinfo(name).compress_type == zipfile.ZIP_STORED
