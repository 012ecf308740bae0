"""Closed segments are checked against their footers; open ones are told from closed ones."""

from collections.abc import Callable
from pathlib import Path

import pytest

from marloft.contract.segments import footer_path, torn_path
from marloft.errors import ConfigError
from marloft.logs.segments import Segment, list_segments, mismatch
from marloft.logs.tail import LogTail
from tests.unit.logs.test_read import prediction
from tests.unit.logs.world import Seen, close, write_segment


def only(var: Path) -> Segment:
    (found,) = list_segments(var, "predictions")
    return found


def test_segment_tells_its_writer_and_whether_it_is_closed(tmp_path: Path) -> None:
    path = write_segment(tmp_path, "predictions", [prediction("a")], host="a-host-2", pid=41)
    found = only(tmp_path)
    assert found.writer is not None
    assert (found.writer.host, found.writer.pid, found.footer) == ("a-host-2", 41, None)
    close(path)
    closed = only(tmp_path).footer
    assert closed is not None and closed.records == 1
    assert mismatch(only(tmp_path)) is None


def test_segment_under_another_name_has_no_writer(tmp_path: Path) -> None:
    path = write_segment(tmp_path, "predictions", [prediction("a")])
    path.rename(path.with_name("segment.jsonl"))
    assert only(tmp_path).writer is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data + b"{}\n", "bytes, was closed with"),
        (lambda data: data[:-3], "bytes, was closed with"),
        (lambda data: data.replace(b'"a"', b'"c"'), "SHA-256"),
        (lambda data: data.replace(b"\n", b" ", 1), "SHA-256"),
    ],
)
def test_changed_segment_is_noticed(
    tmp_path: Path, change: Callable[[bytes], bytes], said: str
) -> None:
    path = write_segment(tmp_path, "predictions", [prediction("a"), prediction("b")])
    close(path)
    path.write_bytes(change(path.read_bytes()))
    found = mismatch(only(tmp_path))
    assert found is not None and str(path) in found and said in found


def test_wrong_count_is_noticed_though_the_hash_fits(tmp_path: Path) -> None:
    path = write_segment(tmp_path, "predictions", [prediction("a")])
    close(path)
    footer_path(path).write_text(
        footer_path(path).read_text().replace('records": 1', 'records": 2')
    )
    found = mismatch(only(tmp_path))
    assert found is not None and "1 records, was closed with 2" in found


def test_damaged_footer_is_a_users_error_with_its_name(tmp_path: Path) -> None:
    path = write_segment(tmp_path, "predictions", [prediction("a")])
    footer_path(path).write_text("{")
    with pytest.raises(ConfigError, match=r"closed\.json"):
        list_segments(tmp_path, "predictions")


@pytest.mark.parametrize("repaired", [False, True])
def test_torn_line_counts_before_and_after_the_repair(tmp_path: Path, repaired: bool) -> None:
    path = write_segment(tmp_path, "predictions", [prediction("a")], tail='{"torn')
    if repaired:
        close(path)
        assert torn_path(path).read_text() == '{"torn'
    assert only(tmp_path).torn_lines == 1


def test_tail_reads_on_after_the_repair(tmp_path: Path) -> None:
    path = write_segment(tmp_path, "predictions", [prediction("a")], tail='{"torn')
    tail = LogTail(path.parent, Seen, history_s=60)
    assert [record.request_id for record in tail.read_new()] == ["a"]
    close(path)
    write_segment(tmp_path, "predictions", [prediction("b")], started="20270101T000000000000")
    assert [record.request_id for record in tail.read_new()] == ["b"]
    assert (tail.damaged_lines, tail.skipped_bytes) == (0, 0)


def test_tail_goes_on_where_a_writer_took_back_a_part(tmp_path: Path) -> None:
    path = write_segment(tmp_path, "predictions", [prediction("a"), prediction("b")])
    tail = LogTail(path.parent, Seen, history_s=60)
    tail.read_new()
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"\n") + 1])
    assert tail.read_new() == []
    path.write_bytes(path.read_bytes() + whole[whole.index(b"\n") + 1 :].replace(b'"b"', b'"c"'))
    assert [record.request_id for record in tail.read_new()] == ["c"]
