"""An archive that is live and no longer in the store is a fault before a restart needs it."""

import os
import shutil
from pathlib import Path

import pytest

from marloft.contract.manifest import archive_path
from marloft.contract.release import ReleasedModel
from marloft.deploy.control import stored_archives as module
from marloft.deploy.control.stored_archives import StoredArchives
from marloft.deploy.faults import Faults
from tests.unit.deploy.control.fakes import Bench

SUBJECT = "the archive of ranker 1.1"


class Stored:
    """A store of the test's own, the release of it, and what is found wrong."""

    def __init__(self, folder: Path, store: Path) -> None:
        shutil.copytree(store, folder / "store")
        self.bench = Bench(folder, folder / "store")
        self.path = archive_path(folder / "store", "ranker", "1.1")
        self.faults = Faults(lambda _: None)
        self.archives = StoredArchives(folder / "store", self.faults)
        self.pins = {version: self.bench.pin(version) for version in ("1.0", "1.1")}
        self.look()

    def look(self, *versions: str) -> dict[str, str]:
        pins = {version: self.pins[version] for version in versions or self.pins}
        model = ReleasedModel(default="1.0", versions=pins)
        self.archives.look(self.bench.release(1, model))
        return self.faults.current


@pytest.fixture
def stored(tmp_path: Path, store: Path) -> Stored:
    return Stored(tmp_path, store)


def test_deleted_archive_is_a_fault_until_it_is_back(stored: Stored) -> None:
    assert stored.look() == {}
    content = stored.path.read_bytes()
    stored.path.unlink()
    assert stored.look() == {
        SUBJECT: f"{stored.path} is gone; a restart could not load it: put that file back"
    }
    stored.path.write_bytes(content)
    assert stored.look() == {}


@pytest.mark.parametrize("changed", [b"", b" "])
def test_other_bytes_are_a_fault_until_the_right_ones_are_back(
    stored: Stored, changed: bytes
) -> None:
    content = stored.path.read_bytes()
    stored.path.write_bytes(content[:-1] + changed)
    os.utime(stored.path, ns=(1, 1))
    assert "is not the archive of release 1" in stored.look()[SUBJECT]
    stored.path.write_bytes(content)
    assert stored.look() == {}


def test_a_file_is_hashed_once_for_each_change(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []

    def holds(path: Path, pinned: object) -> bool:
        hashed.append(path)
        return bool(pinned) and path.read_bytes().endswith(b"!")

    monkeypatch.setattr(module, "holds", holds)
    stored.look()
    assert hashed == []
    content = stored.path.read_bytes()
    for last, faults in ((b"?", 1), (b"!", 0)):
        stored.path.write_bytes(content[:-1] + last)
        assert [len(stored.look()) for _ in range(3)] == [faults] * 3
    assert hashed == [stored.path] * 2


def test_a_version_that_left_the_release_leaves_no_fault(stored: Stored) -> None:
    stored.path.unlink()
    assert SUBJECT in stored.look()
    assert stored.look("1.0") == {}
