"""Segments: their names say who wrote them, and their last whole line is found."""

import os
from pathlib import Path

import pytest

from marloft.contract.segments import (
    Writer,
    end_of_last_line,
    footer_path,
    footers,
    segment_name,
    segment_of,
    segments,
    torn_path,
    writer_of,
)


@pytest.mark.parametrize("host", ["node", "pod-7f-x2", "a.b.c"])
def test_writer_is_read_from_the_name(host: str) -> None:
    writer = Writer(started="20260101T000000000000", host=host, pid=41)
    assert writer_of(Path(segment_name(writer))) == writer


@pytest.mark.parametrize("name", ["release-1.jsonl", "mine.jsonl", "a-b-c.jsonl", "-x-.jsonl"])
def test_name_that_marloft_did_not_give_has_no_writer(name: str) -> None:
    assert writer_of(Path(name)) is None


def test_names_sort_by_the_start_of_their_writers() -> None:
    earlier = segment_name(Writer(started="20260101T000000000000", host="z", pid=9))
    later = segment_name(Writer(started="20260101T000000000001", host="a", pid=1))
    assert sorted([later, earlier]) == [earlier, later]


def test_footer_leads_back_to_its_segment(tmp_path: Path) -> None:
    segment = tmp_path / "20260101T000000000000-node-7.jsonl"
    footer_path(segment).touch()
    torn_path(segment).touch()
    (found,) = footers(tmp_path)
    assert segment_of(found) == segment


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (b"", 0),
        (b"torn", 0),
        (b"one\n", 4),
        (b"one\ntorn", 4),
        (b"one\ntwo\n", 8),
        # Longer than one block of the search.
        (b"one\n" + b"x" * (3 << 20), 4),
        (b"x" * (1 << 20) + b"\n" + b"y" * (1 << 20), (1 << 20) + 1),
    ],
)
def test_end_of_the_last_whole_line_is_found(tmp_path: Path, data: bytes, end: int) -> None:
    path = tmp_path / "segment"
    path.write_bytes(data)
    file = os.open(path, os.O_RDONLY)
    try:
        assert end_of_last_line(file, len(data)) == end
        assert os.lseek(file, 0, os.SEEK_CUR) == 0
    finally:
        os.close(file)


def test_only_the_part_that_was_asked_for_is_searched(tmp_path: Path) -> None:
    path = tmp_path / "segment"
    path.write_bytes(b"one\ntwo\n")
    file = os.open(path, os.O_RDONLY)
    try:
        assert end_of_last_line(file, 7) == 4
    finally:
        os.close(file)


def test_segments_are_those_of_the_folder_in_order(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl", "a.jsonl.closed.json", "a.jsonl.torn", "c.new"):
        (tmp_path / name).touch()
    assert [path.name for path in segments(tmp_path)] == ["a.jsonl", "b.jsonl"]
    assert segments(tmp_path / "none") == []


def test_folder_of_another_user_is_not_taken_for_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    # Root, who runs the tests in a container, may read everything.
    monkeypatch.setattr(Path, "iterdir", refused)
    with pytest.raises(PermissionError):
        segments(tmp_path)
