"""Verification: a good archive passes, and each check of its form is proved by one that fails."""

import io
import stat
import zipfile
from pathlib import Path

import pytest

from harness import factories
from harness.hostile_archives.building import Members, failed_checks, rehash, write
from marloft.archive.pack import write_archive
from marloft.archive.verify import verify
from marloft.errors import ArchiveError


def test_packed_archive_passes_every_check(good: Path) -> None:
    report = verify(good)
    assert report.ok
    order = [*range(1, 8), 16, 17, 11, 8, 9, 10, 12, 13, 14, 15, 18, 24, 19]
    assert [check.code for check in report.checks] == [f"MRL{n:03}" for n in order]
    assert (report.name, report.version) == ("ranker", "1.0")


def test_archive_of_code_alone_passes_every_check(tmp_path: Path) -> None:
    project = factories.write_project(tmp_path)
    path = tmp_path / write_archive(project / "archive_configs" / "outcomes.yaml", tmp_path).file
    assert [check.culprit for check in verify(path).checks if not check.ok] == []
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == [
            *("MAR-INF/MANIFEST.json", "model-config.yaml", "outcomes.py", "archive.json")
        ]


def test_rewritten_zip_of_the_same_members_passes(tmp_path: Path, members: Members) -> None:
    members.update(rehash(members))
    assert failed_checks(write(tmp_path / "a.mar", members)) == []


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="is no file"):
        verify(tmp_path / "none.mar")


@pytest.mark.parametrize("name", ["../up.txt", "/abs.txt", "a\\b.txt", "nul\0.txt"])
def test_mrl002_unsafe_path(tmp_path: Path, members: Members, name: str) -> None:
    path = write(tmp_path / "a.mar", members | {"X" * len(name): b"x"})
    path.write_bytes(path.read_bytes().replace(b"X" * len(name), name.encode()))
    assert failed_checks(path) == [("MRL002", name)]


def test_mrl002_link(tmp_path: Path, members: Members) -> None:
    path = write(tmp_path / "a.mar", members)
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    assert failed_checks(path) == [("MRL002", "link")]


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_mrl003_duplicate(tmp_path: Path, members: Members) -> None:
    path = write(tmp_path / "a.mar", members)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("ranker.py", "print('other code')")
    assert failed_checks(path) == [("MRL003", "ranker.py")]


def test_mrl004_zip_bomb(tmp_path: Path, members: Members) -> None:
    path = write(tmp_path / "a.mar", members)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(8 << 20))
    assert failed_checks(path) == [("MRL004", "bomb")]


@pytest.mark.parametrize("content", [None, b"{", b"[]", b'{"name": "ranker"}'])
def test_mrl005_archive_json(tmp_path: Path, members: Members, content: bytes | None) -> None:
    del members["archive.json"]
    more = {} if content is None else {"archive.json": content}
    assert failed_checks(write(tmp_path / "a.mar", members | more)) == [("MRL005", "archive.json")]


def test_mrl013_sidecar(tmp_path: Path, members: Members, good: Path) -> None:
    members.update(rehash(members))
    path = write(tmp_path / "a.mar", members)
    (tmp_path / "a.mar.json").write_bytes((good.parent / "ranker-1.0.mar.json").read_bytes())
    assert failed_checks(path) == [("MRL013", "a.mar.json")]


def test_verify_never_runs_the_handler(tmp_path: Path, members: Members) -> None:
    proof = tmp_path / "ran"
    members["ranker.py"] = f"import pathlib; pathlib.Path({str(proof)!r}).touch()\n".encode()
    members.update(rehash(members))
    assert verify(write(tmp_path / "a.mar", members)).ok
    assert not proof.exists()
    exec(members["ranker.py"])  # the control: run, it does leave its mark
    assert proof.exists()


def test_random_bytes_are_refused_quietly(tmp_path: Path) -> None:
    path = tmp_path / "a.mar"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x", b"y" * 50)
    path.write_bytes(buffer.getvalue()[:30] + b"\xff" * 200)
    assert failed_checks(path) == [("MRL001", "a.mar")]
