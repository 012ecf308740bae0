"""MRL001: a zip file whose directory lists all that it holds."""

import zipfile
from pathlib import Path

import pytest

from harness.hostile_archives.building import Members, failed_checks, write


def test_mrl001_truncated_archive(tmp_path: Path, good: Path) -> None:
    path = tmp_path / "a.mar"
    path.write_bytes(good.read_bytes()[:-100])
    # What is left ends in tables.npz, a zip file itself: only its place gives it away.
    assert [code for code, _ in failed_checks(path)] == ["MRL001"]


def test_mrl001_data_before_the_first_member(tmp_path: Path, good: Path) -> None:
    path = tmp_path / "a.mar"
    path.write_bytes(b"#!/bin/sh\n" + good.read_bytes())
    assert [code for code, _ in failed_checks(path)] == ["MRL001"]


@pytest.mark.parametrize("hidden", ["ranker.py", "tables.npz", "aaa"])
def test_mrl001_member_that_the_directory_hides(
    tmp_path: Path, members: Members, hidden: str
) -> None:
    path = tmp_path / "a.mar"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
            if name == hidden:
                archive.filelist.pop()
                archive.writestr(f"{name}.seen", data)
        if hidden not in members:
            archive.writestr(hidden, b"")
            archive.filelist.pop()
    assert [code for code, _ in failed_checks(path)] == ["MRL001"]


def test_mrl001_size_that_header_and_directory_tell_differently(tmp_path: Path, good: Path) -> None:
    data = bytearray(good.read_bytes())
    data[18] ^= 1
    path = tmp_path / "a.mar"
    path.write_bytes(data)
    assert [code for code, _ in failed_checks(path)] == ["MRL001"]


def test_mrl001_encrypted_member(tmp_path: Path, members: Members) -> None:
    path = write(tmp_path / "a.mar", members)
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert [code for code, _ in failed_checks(path)] == ["MRL001"]
