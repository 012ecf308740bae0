"""A segment is rewritten so that a crash at any moment is finished by the next run."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from marloft.contract.segments import Footer, footer_path
from marloft.errors import DataError
from marloft.files import read_json, write_json
from marloft.logs.rewrite import Rewritten, remove_records
from marloft.logs.stat import mismatches
from tests.file_modes import mode
from tests.unit.logs.test_read import prediction
from tests.unit.logs.world import close, write_segment


def theirs(line: bytes) -> bool:
    return b'"user_id": "7"' in line


def none(_: bytes) -> bool:
    return False


def all_of_them(_: bytes) -> bool:
    return True


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    users = [f"{user}" for user in (7, 8, 7, 9)]
    times = [f"2026-01-0{day}T00:00:00Z" for day in range(1, 5)]
    path = write_segment(
        tmp_path,
        "predictions",
        [
            prediction(f"r{n}", user_id=user, time=time)
            for n, (user, time) in enumerate(zip(users, times, strict=True))
        ],
        tail='{"schema',
    )
    close(path)
    return path


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_footer_is_that_of_what_stays(segment: Path) -> None:
    before, closed = segment.read_bytes(), read_json(footer_path(segment), Footer)
    lines = before.splitlines(keepends=True)
    (done,) = remove_records(segment, theirs)
    stays = lines[1] + lines[3]
    assert segment.read_bytes() == stays
    footer = read_json(footer_path(segment), Footer)
    assert (footer.records, footer.size_bytes, footer.sha256) == (2, len(stays), sha256(stays))
    assert (footer.first_time, footer.last_time) == ("2026-01-02T00:00:00Z", "2026-01-04T00:00:00Z")
    assert (footer.closed, footer.torn_bytes) == (closed.closed, closed.torn_bytes)
    assert [(each.records, each.sha256) for each in footer.forgotten] == [(2, sha256(before))]
    assert footer.becomes is None
    assert done == Rewritten(
        segment=segment, records=2, sha256_before=sha256(before), sha256_after=sha256(stays)
    )
    assert (mode(segment), mode(footer_path(segment))) == (0o600, 0o600)


def test_time_of_a_rewritten_segment_is_the_old_one(segment: Path) -> None:
    before = segment.stat().st_mtime_ns
    remove_records(segment, theirs)
    assert segment.stat().st_mtime_ns == before


def test_segment_without_any_is_not_touched(segment: Path) -> None:
    before = segment.stat(), footer_path(segment).stat()
    assert remove_records(segment, none) == []
    assert (segment.stat(), footer_path(segment).stat()) == before


def test_all_records_may_go(segment: Path) -> None:
    remove_records(segment, all_of_them)
    footer = read_json(footer_path(segment), Footer)
    assert (segment.read_bytes(), footer.records, footer.last_time) == (b"", 0, None)


def test_history_of_hashes_is_kept(segment: Path) -> None:
    first = sha256(segment.read_bytes())
    (one,) = remove_records(segment, theirs)
    remove_records(segment, lambda line: b'"user_id": "8"' in line)
    footer = read_json(footer_path(segment), Footer)
    assert [each.sha256 for each in footer.forgotten] == [first, one.sha256_after]


def test_changed_segment_is_left_alone(segment: Path, tmp_path: Path) -> None:
    segment.write_bytes(segment.read_bytes().replace(b"[4, 3]", b"[3, 4]"))
    before = segment.read_bytes()
    with pytest.raises(DataError, match="not what it was when it was closed"):
        remove_records(segment, theirs)
    assert segment.read_bytes() == before
    assert mismatches(tmp_path) != []


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture(params=range(1, 6))
def killed_at(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Let the process end before the n-th step: footers and segment, written and renamed."""
    changes = 0

    def dies(call: object) -> object:
        def change(*arguments: object) -> object:
            nonlocal changes
            changes += 1
            if changes == request.param:
                raise Killed
            return call(*arguments)  # type: ignore[operator]

        return change

    with monkeypatch.context() as patched:
        patched.setattr("marloft.logs.rewrite.write_json", dies(write_json))
        patched.setattr(Path, "replace", dies(Path.replace))
        yield request.param


def test_crash_at_each_step_is_no_tampering_and_is_finished(
    segment: Path, killed_at: int, tmp_path: Path
) -> None:
    lines = segment.read_bytes().splitlines(keepends=True)
    before = sha256(segment.read_bytes())
    with pytest.raises(Killed):
        remove_records(segment, theirs)
    assert mismatches(tmp_path) == []
    (done,) = remove_records(segment, theirs)
    assert (done.records, done.sha256_before) == (2, before)
    assert segment.read_bytes() == lines[1] + lines[3]
    footer = read_json(footer_path(segment), Footer)
    assert [(each.records, each.sha256) for each in footer.forgotten] == [(2, before)]
    assert footer.becomes is None
    assert mismatches(tmp_path) == []
    assert remove_records(segment, theirs) == []
