"""The list of the store says which release names which bytes."""

import shutil
from pathlib import Path

import pytest

from marloft.deploy.release.write import apply
from marloft.deploy.store import Stored, list_store
from marloft.files import sha256_file

PLAIN = 'default_model: ranker\nmodels: {ranker: {versions: {"1.0": {}}, default: "1.0"}}\n'


@pytest.fixture
def project(tmp_path: Path, store: Path) -> Path:
    """A folder with a store of the test's own."""
    shutil.copytree(store, tmp_path / "store")
    return tmp_path


def applied(project: Path, text: str) -> None:
    (project / "deployment.yaml").write_text(text)
    assert apply(project / "deployment.yaml", project / "store", project / "var") is not None


def listed(project: Path) -> dict[str, Stored]:
    return {each.file: each for each in list_store(project / "store", project / "var")}


def test_archives_are_listed_by_their_bytes(project: Path) -> None:
    found = listed(project)
    assert list(found) == ["ranker-1.0.mar", "ranker-1.1.mar"]
    one = found["ranker-1.0.mar"]
    path = project / "store" / one.file
    assert (one.name, one.version, one.release, one.role) == ("ranker", "1.0", None, "")
    assert (one.sha256, one.size_bytes) == (sha256_file(path), path.stat().st_size)


def test_role_is_that_of_the_newest_release(project: Path) -> None:
    applied(project, PLAIN)
    assert (listed(project)["ranker-1.0.mar"].role) == "default"
    applied(project, PLAIN.replace("1.0", "1.1"))
    found = listed(project)
    assert [(each.release, each.role) for each in found.values()] == [
        (2, "standby"),
        (2, "default"),
    ]


def test_earlier_release_is_named_without_a_role(project: Path) -> None:
    both = PLAIN.replace('{"1.0": {}}', '{"1.0": {}, "1.1": {}}')
    applied(project, both)
    applied(project, PLAIN)
    found = listed(project)["ranker-1.1.mar"]
    assert (found.release, found.role) == (1, "")


def test_replaced_bytes_are_named_by_no_release(project: Path) -> None:
    applied(project, PLAIN)
    with (project / "store" / "ranker-1.0.mar").open("ab") as stream:
        stream.write(b"x")
    assert listed(project)["ranker-1.0.mar"].release is None


def test_workflows_and_foreign_files_are_listed(project: Path) -> None:
    for name in ("feed_ab.war", "Foreign.mar", "notes.txt"):
        (project / "store" / name).write_text("x")
    found = listed(project)
    assert (found["feed_ab.war"].name, found["feed_ab.war"].version) == ("feed_ab", None)
    assert (found["Foreign.mar"].name, found["Foreign.mar"].version) == (None, None)
    assert "notes.txt" not in found
