"""Verification: a good archive passes, and each check is proved by an archive that fails it."""

import io
import json
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from marloft.archive.pack import write_archive
from marloft.archive.verify import verify
from marloft.errors import ArchiveError
from tests import factories
from tests.hostile_archives.building import Members, read, rehash, write


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = factories.write_project(tmp_path_factory.mktemp("project"))
    store = project / "model_store"
    return store / write_archive(project / "archive_configs" / "ranker_v1.yaml", store).file


@pytest.fixture
def members(good: Path) -> Members:
    return read(good)


def _change(members: Members, name: str, change: Callable[[Any], None]) -> None:
    document = json.loads(members[name])
    change(document)
    members[name] = json.dumps(document).encode()


def _failing(path: Path) -> list[tuple[str, str]]:
    return [(check.code, check.culprit) for check in verify(path).checks if not check.ok]


def test_packed_archive_passes_every_check(good: Path) -> None:
    report = verify(good)
    assert report.ok
    order = [*range(1, 8), 16, 17, 11, 8, 9, 10, 12, 13, 14, 15, 18, 19]
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


def test_mrl007_model_without_a_schema(tmp_path: Path, members: Members) -> None:
    del members["schema.json"]
    members.update(rehash(members))
    failing = _failing(write(tmp_path / "a.mar", members))
    assert failing[0] == ("MRL007", "schema.json")


def test_rewritten_zip_of_the_same_members_passes(tmp_path: Path, members: Members) -> None:
    members.update(rehash(members))
    assert _failing(write(tmp_path / "a.mar", members)) == []


def test_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="is no file"):
        verify(tmp_path / "none.mar")


def test_mrl001_truncated_archive(tmp_path: Path, good: Path) -> None:
    path = tmp_path / "a.mar"
    path.write_bytes(good.read_bytes()[:-100])
    # What is left ends in tables.npz, a zip file itself: only its place gives it away.
    assert [code for code, _ in _failing(path)] == ["MRL001"]


def test_mrl001_data_before_the_first_member(tmp_path: Path, good: Path) -> None:
    path = tmp_path / "a.mar"
    path.write_bytes(b"#!/bin/sh\n" + good.read_bytes())
    assert [code for code, _ in _failing(path)] == ["MRL001"]


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
    assert [code for code, _ in _failing(path)] == ["MRL001"]


def test_mrl001_size_that_header_and_directory_tell_differently(tmp_path: Path, good: Path) -> None:
    data = bytearray(good.read_bytes())
    data[18] ^= 1
    path = tmp_path / "a.mar"
    path.write_bytes(data)
    assert [code for code, _ in _failing(path)] == ["MRL001"]


def test_mrl001_encrypted_member(tmp_path: Path, members: Members) -> None:
    path = write(tmp_path / "a.mar", members)
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    assert [code for code, _ in _failing(path)] == ["MRL001"]


@pytest.mark.parametrize("name", ["../up.txt", "/abs.txt", "a\\b.txt", "nul\0.txt"])
def test_mrl002_unsafe_path(tmp_path: Path, members: Members, name: str) -> None:
    path = write(tmp_path / "a.mar", members | {"X" * len(name): b"x"})
    path.write_bytes(path.read_bytes().replace(b"X" * len(name), name.encode()))
    assert _failing(path) == [("MRL002", name)]


def test_mrl002_link(tmp_path: Path, members: Members) -> None:
    path = write(tmp_path / "a.mar", members)
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    assert _failing(path) == [("MRL002", "link")]


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_mrl003_duplicate(tmp_path: Path, members: Members) -> None:
    path = write(tmp_path / "a.mar", members)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("ranker.py", "print('other code')")
    assert _failing(path) == [("MRL003", "ranker.py")]


def test_mrl004_zip_bomb(tmp_path: Path, members: Members) -> None:
    path = write(tmp_path / "a.mar", members)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(8 << 20))
    assert _failing(path) == [("MRL004", "bomb")]


@pytest.mark.parametrize("content", [None, b"{", b"[]", b'{"name": "ranker"}'])
def test_mrl005_archive_json(tmp_path: Path, members: Members, content: bytes | None) -> None:
    del members["archive.json"]
    more = {} if content is None else {"archive.json": content}
    assert _failing(write(tmp_path / "a.mar", members | more)) == [("MRL005", "archive.json")]


def test_mrl006_changed_member(tmp_path: Path, members: Members) -> None:
    members["ranker.py"] += b"# changed\n"
    assert _failing(write(tmp_path / "a.mar", members)) == [("MRL006", "ranker.py")]


def test_mrl006_flipped_bit_in_the_file(tmp_path: Path, good: Path) -> None:
    data = bytearray(good.read_bytes())
    data[data.index(b"class RankerHandler") + 1] ^= 1
    path = tmp_path / "a.mar"
    path.write_bytes(data)
    assert _failing(path) == [("MRL006", "ranker.py")]


def test_mrl007_extra_member(tmp_path: Path, members: Members) -> None:
    path = write(tmp_path / "a.mar", members | {"extra.txt": b""})
    assert _failing(path) == [("MRL007", "extra.txt")]


def test_mrl007_missing_member(tmp_path: Path, members: Members) -> None:
    del members["tables.npz"]
    assert _failing(write(tmp_path / "a.mar", members)) == [("MRL007", "tables.npz")]


def test_mrl007_handler_that_is_not_there(tmp_path: Path, members: Members) -> None:
    members["other.py"] = members.pop("ranker.py")
    members.update(rehash(members))
    assert _failing(write(tmp_path / "a.mar", members)) == [("MRL007", "ranker.py")]


def test_archive_of_code_alone_needs_no_schema_but_one_with_an_artifact_does(
    tmp_path: Path, members: Members
) -> None:
    project = factories.write_project(tmp_path / "project")
    for name in ("feed_ab_assign", "feed_ab_select"):
        packed = write_archive(project / "archive_configs" / f"{name}.yaml", tmp_path)
        assert verify(tmp_path / packed.file).ok
    del members["schema.json"]
    _change(members, "archive.json", lambda d: d["members"].pop("schema.json"))
    assert ("MRL007", "schema.json") in _failing(write(tmp_path / "x.mar", members))


def test_mrl008_schema(tmp_path: Path, members: Members) -> None:
    _change(members, "schema.json", lambda d: d["items"]["properties"]["item_id"].update(type="x"))
    members.update(rehash(members))
    failing = _failing(write(tmp_path / "a.mar", members))
    assert ("MRL008", "schema.json") in failing


def test_mrl009_golden(tmp_path: Path, members: Members) -> None:
    members["golden.jsonl"] = members["golden.jsonl"].replace(b'"item_id":50', b'"item_id":-5', 1)
    members.update(rehash(members))
    assert _failing(write(tmp_path / "a.mar", members)) == [("MRL009", "golden.jsonl")]


@pytest.mark.parametrize("key", ["modelName", "modelVersion", "handler", "serializedFile"])
def test_mrl010_stock_manifest(tmp_path: Path, members: Members, key: str) -> None:
    _change(members, "MAR-INF/MANIFEST.json", lambda d: d["model"].update({key: "other"}))
    members.update(rehash(members))
    failing = _failing(write(tmp_path / "a.mar", members))
    assert failing == [("MRL010", "MAR-INF/MANIFEST.json")]


@pytest.mark.parametrize("wanted", [">=99", "", "newest"])
def test_mrl011_requires(tmp_path: Path, members: Members, wanted: str) -> None:
    _change(members, "archive.json", lambda d: d.update(requires={"marloft": wanted}))
    assert _failing(write(tmp_path / "a.mar", members)) == [("MRL011", "archive.json")]


def test_mrl012_shadowing(tmp_path: Path, members: Members) -> None:
    members["numpy.py"] = b""
    members.update(rehash(members))
    assert _failing(write(tmp_path / "a.mar", members)) == [("MRL012", "numpy.py")]


def test_mrl013_sidecar(tmp_path: Path, members: Members, good: Path) -> None:
    members.update(rehash(members))
    path = write(tmp_path / "a.mar", members)
    (tmp_path / "a.mar.json").write_bytes((good.parent / "ranker-1.0.mar.json").read_bytes())
    assert _failing(path) == [("MRL013", "a.mar.json")]


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
    assert _failing(path) == [("MRL001", "a.mar")]
