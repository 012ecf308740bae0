"""An assign node's file follows the releases, also past the end of its experiment."""

from pathlib import Path

import msgspec
import pytest

from marloft.contract.allocation import AllocationFile
from marloft.contract.manifest import WorkerSettings
from marloft.contract.release import (
    Allocation,
    Arm,
    Release,
    ReleasedModel,
    ReleasedVersion,
    release_path,
)
from marloft.deploy.control.allocations import last_allocations, render_allocations
from marloft.files import write_json
from tests.releases import made_release

SPLIT = Allocation(
    name="feed_ab",
    salt="feed_ab",
    unit="user_id",
    arms=[
        Arm(name="control", version="1.0", weight=50),
        Arm(name="treatment", version="2.0", weight=50),
    ],
)


def released(folder: Path, number: int, default: str, split: Allocation | None) -> Release:
    pinned = ReleasedVersion(sha256="0" * 64, settings=WorkerSettings())
    versions = {"1.0": pinned, "2.0": pinned}
    model = ReleasedModel(default=default, versions=versions, allocation=split)
    release = made_release({"ranker": model}, number)
    write_json(release_path(folder, number), release)
    return release


def rendered(folder: Path, release: Release, files: list[str]) -> dict[str, bytes]:
    return render_allocations(release, last_allocations(folder, release, files))


@pytest.fixture
def promoted(tmp_path: Path) -> Release:
    """Release 2: the experiment of release 1 has ended, its treatment is the default."""
    released(tmp_path, 1, "1.0", SPLIT)
    return released(tmp_path, 2, "2.0", None)


def test_running_experiment_has_its_file(tmp_path: Path) -> None:
    release = released(tmp_path, 1, "1.0", SPLIT)
    ((name, content),) = rendered(tmp_path, release, []).items()
    file = msgspec.json.decode(content, type=AllocationFile)
    assert name == "feed_ab"
    assert (file.running, file.release, file.default) == (True, 1, "1.0")


def test_ended_experiment_keeps_its_file_and_everybody_gets_the_default(
    tmp_path: Path, promoted: Release
) -> None:
    content = rendered(tmp_path, promoted, ["feed_ab"])["feed_ab"]
    file = msgspec.json.decode(content, type=AllocationFile)
    assert (file.running, file.release, file.default) == (False, 2, "2.0")
    assert file.allocation == SPLIT


def test_experiment_that_never_ran_gets_no_file(tmp_path: Path, promoted: Release) -> None:
    assert rendered(tmp_path, promoted, ["other"]) == {}
    assert rendered(tmp_path, promoted, []) == {}


def test_a_damaged_release_of_the_past_holds_nothing_up(tmp_path: Path) -> None:
    released(tmp_path, 1, "1.0", SPLIT)
    release_path(tmp_path, 2).write_text("{")
    newest = released(tmp_path, 3, "2.0", None)
    (content,) = rendered(tmp_path, newest, ["feed_ab"]).values()
    assert not msgspec.json.decode(content, type=AllocationFile).running
