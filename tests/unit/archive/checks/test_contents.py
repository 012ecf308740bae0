"""Each check of an archive's content is proved by an archive that fails it and no other."""

from pathlib import Path

import pytest

from harness import factories
from harness.hostile_archives.building import Members, changed, failed_checks, rehash, write
from marloft.archive.pack import write_archive
from marloft.archive.verify import verify


def test_mrl007_model_without_a_schema(tmp_path: Path, members: Members) -> None:
    del members["schema.json"]
    members.update(rehash(members))
    failing = failed_checks(write(tmp_path / "a.mar", members))
    assert failing[0] == ("MRL007", "schema.json")


def test_mrl006_changed_member(tmp_path: Path, members: Members) -> None:
    members["ranker.py"] += b"# changed\n"
    assert failed_checks(write(tmp_path / "a.mar", members)) == [("MRL006", "ranker.py")]


def test_mrl006_flipped_bit_in_the_file(tmp_path: Path, good: Path) -> None:
    data = bytearray(good.read_bytes())
    data[data.index(b"class RankerHandler") + 1] ^= 1
    path = tmp_path / "a.mar"
    path.write_bytes(data)
    assert failed_checks(path) == [("MRL006", "ranker.py")]


def test_mrl007_extra_member(tmp_path: Path, members: Members) -> None:
    path = write(tmp_path / "a.mar", members | {"extra.txt": b""})
    assert failed_checks(path) == [("MRL007", "extra.txt")]


def test_mrl007_missing_member(tmp_path: Path, members: Members) -> None:
    del members["tables.npz"]
    assert failed_checks(write(tmp_path / "a.mar", members)) == [("MRL007", "tables.npz")]


def test_mrl007_handler_that_is_not_there(tmp_path: Path, members: Members) -> None:
    members["other.py"] = members.pop("ranker.py")
    members.update(rehash(members))
    assert failed_checks(write(tmp_path / "a.mar", members)) == [("MRL007", "ranker.py")]


def test_archive_of_code_alone_needs_no_schema_but_one_with_an_artifact_does(
    tmp_path: Path, members: Members
) -> None:
    project = factories.write_project(tmp_path / "project")
    for name in ("feed_ab_assign", "feed_ab_select"):
        packed = write_archive(project / "archive_configs" / f"{name}.yaml", tmp_path)
        assert verify(tmp_path / packed.file).ok
    del members["schema.json"]
    members |= changed(members, "archive.json", lambda d: d["members"].pop("schema.json"))
    assert ("MRL007", "schema.json") in failed_checks(write(tmp_path / "x.mar", members))


def test_mrl008_schema(tmp_path: Path, members: Members) -> None:
    members |= changed(
        members, "schema.json", lambda d: d["items"]["properties"]["item_id"].update(type="x")
    )
    members.update(rehash(members))
    failing = failed_checks(write(tmp_path / "a.mar", members))
    assert ("MRL008", "schema.json") in failing


def test_mrl009_golden(tmp_path: Path, members: Members) -> None:
    members["golden.jsonl"] = members["golden.jsonl"].replace(b'"item_id":50', b'"item_id":-5', 1)
    members.update(rehash(members))
    assert failed_checks(write(tmp_path / "a.mar", members)) == [("MRL009", "golden.jsonl")]


@pytest.mark.parametrize("key", ["modelName", "modelVersion", "handler", "serializedFile"])
def test_mrl010_stock_manifest(tmp_path: Path, members: Members, key: str) -> None:
    members |= changed(
        members, "MAR-INF/MANIFEST.json", lambda d: d["model"].update({key: "other"})
    )
    members.update(rehash(members))
    failing = failed_checks(write(tmp_path / "a.mar", members))
    assert failing == [("MRL010", "MAR-INF/MANIFEST.json")]


@pytest.mark.parametrize("wanted", [">=99", "", "newest"])
def test_mrl011_requires(tmp_path: Path, members: Members, wanted: str) -> None:
    members |= changed(members, "archive.json", lambda d: d.update(requires={"marloft": wanted}))
    assert failed_checks(write(tmp_path / "a.mar", members)) == [("MRL011", "archive.json")]


def test_mrl012_shadowing(tmp_path: Path, members: Members) -> None:
    members["numpy.py"] = b""
    members.update(rehash(members))
    assert failed_checks(write(tmp_path / "a.mar", members)) == [("MRL012", "numpy.py")]
