"""Fetching and reading MovieLens-100K, with no network."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from marloft.errors import DataError
from marloft.ranker import movielens

CONTENT = {
    "ml-100k.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t2\t4\t88\n",
    "ml-100k.user": (
        "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n"
        "1\t24\tM\twriter\t05201\n"
    ),
    "ml-100k.item": (
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        '2\tA "Quoted Title\t1995\tComedy Crime\n3\tunknown\tV\tunknown\n'
    ),
}


@pytest.fixture
def tiny_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel of the pinned one's layout; the pins are those of its own content."""
    path = tmp_path / "tiny.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in CONTENT.items():
            archive.writestr(f"{movielens.MEMBER_FOLDER}/{name}", text)
    pins = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in CONTENT.items()}
    monkeypatch.setattr(movielens, "MEMBERS", pins)
    monkeypatch.setattr(movielens, "WHEEL_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    return path


def test_fetch_extracts_and_read_gives_typed_tables(tiny_wheel: Path, tmp_path: Path) -> None:
    movielens.fetch(tmp_path / "raw", wheel=tiny_wheel, report=lambda _: None)
    data = movielens.read(tmp_path / "raw")
    assert data.ratings.rows() == [(1, 2, 4, 88)]
    assert data.users["zip_code"].to_list() == ["05201"]
    assert data.items["release_year"].to_list() == [1995, None]
    assert data.items["genres"].to_list() == [["Comedy", "Crime"], ["unknown"]]


def test_fetch_does_nothing_the_second_time(tiny_wheel: Path, tmp_path: Path) -> None:
    movielens.fetch(tmp_path / "raw", wheel=tiny_wheel, report=lambda _: None)
    lines: list[str] = []
    movielens.fetch(tmp_path / "raw", wheel=tmp_path / "gone.whl", report=lines.append)
    assert lines == [f"{tmp_path / 'raw'} already holds MovieLens-100K"]


def test_read_refuses_a_changed_file(tiny_wheel: Path, tmp_path: Path) -> None:
    movielens.fetch(tmp_path / "raw", wheel=tiny_wheel, report=lambda _: None)
    (tmp_path / "raw" / "ml-100k.inter").write_text("something else")
    with pytest.raises(DataError, match="a file there was changed"):
        movielens.read(tmp_path / "raw")


def test_fetch_refuses_a_wheel_with_another_hash(tmp_path: Path) -> None:
    wheel = tmp_path / "recbole.whl"
    wheel.write_bytes(b"not the wheel")
    found = hashlib.sha256(b"not the wheel").hexdigest()
    with pytest.raises(DataError, match=f"has sha256 {found}, expected 9c9948202011f37e"):
        movielens.fetch(tmp_path / "raw", wheel=wheel, report=lambda _: None)
    assert not (tmp_path / "raw").exists()


def test_fetch_of_a_missing_wheel_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.whl is not a file"):
        movielens.fetch(tmp_path / "raw", wheel=tmp_path / "none.whl", report=lambda _: None)


def test_fetch_offline_names_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(DataError, match=r"could not be downloaded \(.*\); .* with --path"):
        movielens.fetch(tmp_path / "raw", report=lambda _: None)
