"""The split as a file: rendered from a release, or generated from an experiment's design."""

from pathlib import Path

import msgspec
import pytest

from harness.factories import REPOSITORY
from marloft.contract.allocation import (
    AllocationFile,
    allocation_file,
    allocation_path,
    packed_allocation,
)
from marloft.contract.manifest import WorkerSettings
from marloft.contract.release import Allocation, Arm, Release, ReleasedModel, ReleasedVersion
from marloft.errors import ConfigError
from tests.releases import made_release

EXPERIMENT = REPOSITORY / "workflows" / "feed_ab" / "experiment.yaml"
SPLIT = Allocation(
    name="feed_ab",
    salt="feed_ab",
    unit="user_id",
    arms=[
        Arm(name="control", version="1.0", weight=50),
        Arm(name="treatment", version="2.0", weight=50),
    ],
)


@pytest.fixture
def release() -> Release:
    version = ReleasedVersion(sha256="0" * 64, settings=WorkerSettings())
    ranker = ReleasedModel(default="1.0", versions={"1.0": version}, allocation=SPLIT)
    return made_release({"ranker": ranker}, 7)


def test_running_split_is_rendered_with_its_release(release: Release) -> None:
    assert allocation_file(release, "ranker") == AllocationFile(
        release=7, model="ranker", default="1.0", allocation=SPLIT
    )


def test_model_without_a_split_renders_nothing(release: Release) -> None:
    ended = msgspec.structs.replace(release.models["ranker"], allocation=None)
    assert (
        allocation_file(msgspec.structs.replace(release, models={"ranker": ended}), "ranker")
        is None
    )
    assert allocation_file(release, "outcomes") is None


def test_shipped_experiment_packs_its_arms_with_control_as_default() -> None:
    assert packed_allocation(EXPERIMENT, "ranker") == AllocationFile(
        release=None, model="ranker", default="1.0", allocation=SPLIT
    )


def test_salt_is_the_name_unless_said_otherwise(tmp_path: Path) -> None:
    text = EXPERIMENT.read_text()
    assert "salt: feed_ab\n" in text
    for line, salt in (("", "feed_ab"), ("salt: other\n", "other")):
        file = tmp_path / "experiment.yaml"
        file.write_text(text.replace("salt: feed_ab\n", line))
        assert packed_allocation(file, "ranker").allocation.salt == salt


def test_single_arm_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "experiment.yaml"
    file.write_text('name: x\narms: [{name: control, version: "1.0", weight: 1}]\n')
    with pytest.raises(ConfigError, match=r"arms is a list of 1, must be a list of at least 2"):
        packed_allocation(file, "ranker")


def test_rendered_file_is_named_by_the_experiment() -> None:
    assert allocation_path(Path("var"), "feed_ab") == Path("var/run/allocation/feed_ab.json")
