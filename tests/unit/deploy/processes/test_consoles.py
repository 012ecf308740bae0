"""A console's file is bounded while its process goes on writing to it."""

import shutil
from pathlib import Path

import pytest

from marloft.deploy.processes.consoles import bound_console


def test_long_file_is_emptied_under_its_writer_and_kept_once(tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    with path.open("ab", buffering=0) as writer:
        writer.write(b"a" * 100)
        bound_console(path, most_bytes=100)
        assert path.stat().st_size == 100
        writer.write(b"b")
        bound_console(path, most_bytes=100)
        writer.write(b"c")
        assert path.read_bytes() == b"c", "no hole where the old text was"
        assert (tmp_path / "console.log.1").read_bytes() == b"a" * 100 + b"b"


def test_where_there_is_no_room_the_older_text_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "console.log"
    path.write_bytes(b"a" * 100)

    def full(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes()[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    bound_console(path, most_bytes=10)
    assert path.read_bytes() == b""
    assert list(tmp_path.iterdir()) == [path]


def test_missing_file_is_short_enough(tmp_path: Path) -> None:
    bound_console(tmp_path / "console.log")
    assert list(tmp_path.iterdir()) == []
