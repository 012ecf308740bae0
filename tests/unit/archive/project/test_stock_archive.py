"""A stock archive is read with care: what could do harm is refused before it is unpacked."""

import json
import zipfile
from pathlib import Path

import pytest

from harness.hostile_archives.building import write
from marloft.archive.project.stock_archive import read_stock_archive
from marloft.errors import ArchiveError

MANIFEST = {"model": {"modelName": "old", "modelVersion": "1.0", "handler": "old.py"}}
STOCK = {"MAR-INF/MANIFEST.json": json.dumps(MANIFEST).encode(), "old.py": b"class Old: pass\n"}


def _refused(path: Path, message: str) -> None:
    with pytest.raises(ArchiveError, match=message), read_stock_archive(path):
        pass


def test_manifest_and_members_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "old.mar", STOCK | {"words.txt": b"hello"})
    with read_stock_archive(path) as stock:
        assert (stock.name, stock.version, stock.handler) == ("old", "1.0", "old.py")
        assert stock.modules == {"old"}
        assert stock.extract_files(tmp_path / "files") == ["words.txt"]
    assert (tmp_path / "files" / "words.txt").read_bytes() == b"hello"


def test_bomb_is_refused(tmp_path: Path) -> None:
    bomb = write(tmp_path / "bomb.mar", STOCK)
    with zipfile.ZipFile(bomb, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(4 << 20))
    _refused(bomb, "a zip bomb")


def test_link_is_refused(tmp_path: Path) -> None:
    link = write(tmp_path / "link.mar", STOCK)
    info = zipfile.ZipInfo("passwords")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(link, "a") as archive:
        archive.writestr(info, "/etc/passwd")
    _refused(link, "it is a link or a device")


def test_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "old.mar").write_bytes(b"no zip")
    _refused(tmp_path / "old.mar", "is damaged or no zip file")
    _refused(tmp_path / "gone.mar", "is no file")
