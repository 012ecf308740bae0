"""What the file system says of the next write, before it is made."""

import os
from pathlib import Path

import pytest

from marloft.serving.disk import check_room, is_deleted, write_and_forget
from tests.small_disk import fill, mounted


def test_deleted_file_is_known_by_its_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as stream:
        assert not is_deleted(stream.fileno())
        path.unlink()
        assert is_deleted(stream.fileno())
    assert is_deleted(-1)


def test_full_disk_has_no_room_and_takes_no_batch(tmp_path: Path) -> None:
    with mounted(tmp_path / "small") as disk, (disk / "file").open("wb") as stream:
        check_room(stream.fileno())
        write_and_forget(disk)
        filler = fill(disk)
        with pytest.raises(OSError, match="No space left"):
            check_room(stream.fileno())
        with pytest.raises(OSError, match="No space left"):
            write_and_forget(disk)
        filler.unlink()
        check_room(stream.fileno())


def test_read_only_disk_is_told(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "size=1m,ro") as disk:
        file = os.open(disk, os.O_RDONLY)
        try:
            with pytest.raises(OSError, match="Read-only"):
                check_room(file)
        finally:
            os.close(file)


def test_nothing_is_left_of_what_was_only_to_be_tried(tmp_path: Path) -> None:
    write_and_forget(tmp_path)
    assert list(tmp_path.iterdir()) == []
