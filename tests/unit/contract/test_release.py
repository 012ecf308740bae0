"""Releases on disk: the newest is found by number, a damaged or missing one is an error."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from marloft.contract.manifest import WorkerSettings
from marloft.contract.policy import RolloutPlan
from marloft.contract.release import (
    Allocation,
    Arm,
    Release,
    ReleasedModel,
    ReleasedVersion,
    Rollout,
    newest_number,
    read_release,
    release_path,
    releases_folder,
)
from marloft.errors import ConfigError, ReleaseError
from marloft.files import write_json
from tests.releases import made_release

PINNED = ReleasedVersion(sha256="0" * 64, settings=WorkerSettings())
ALLOCATION = Allocation(
    name="rollout-2.0",
    salt="rollout-2.0",
    unit="user_id",
    arms=[
        Arm(name="control", version="1.0", weight=95),
        Arm(name="canary", version="2.0", weight=5),
    ],
)
MODEL = ReleasedModel(
    default="1.0",
    versions={"1.0": PINNED, "2.0": PINNED},
    allocation=ALLOCATION,
    rollout=Rollout(version="2.0", before="1.0", plan=RolloutPlan(steps=[5, 50]), step=0),
    aliases={"champion": "1.0"},
)


def write(var: Path, *numbers: int) -> Path:
    folder = releases_folder(var)
    for number in numbers:
        write_json(release_path(folder, number), made_release({"ranker": MODEL}, number))
    return folder


def test_release_reads_back_as_it_was_written(tmp_path: Path) -> None:
    release = made_release({"ranker": MODEL}, 7)
    assert read_release(write(tmp_path, 7), 7) == release


def test_files_sort_by_number(tmp_path: Path) -> None:
    numbers = (1, 9, 10, 999_999, 1_000_000)
    assert [release_path(tmp_path, n).name for n in numbers] == [
        "000001.json",
        "000009.json",
        "000010.json",
        "999999.json",
        "1000000.json",
    ]


def test_newest_is_that_of_the_highest_number(tmp_path: Path) -> None:
    folder = write(tmp_path, 9, 10, 1_000_000)
    (folder / "000099.json.tmp").touch()
    (folder / "notes.json").touch()
    assert newest_number(folder) == 1_000_000
    assert read_release(folder).release == 1_000_000


def test_folder_without_releases_has_number_0(tmp_path: Path) -> None:
    assert newest_number(tmp_path / "nowhere") == 0
    with pytest.raises(ReleaseError, match="run `marloft apply` first"):
        read_release(tmp_path)


def test_release_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match=r"release 3 does not exist; .* holds 1 to 2"):
        read_release(write(tmp_path, 1, 2), 3)


def test_damaged_release_is_an_error_with_its_file(tmp_path: Path) -> None:
    folder = write(tmp_path, 1)
    path = release_path(folder, 1)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ConfigError, match=r"000001\.json"):
        read_release(folder)


@pytest.mark.parametrize(
    ("kind", "document"),
    [
        (Arm, {"name": "control", "version": "1.0", "weight": 0}),
        (Arm, {"name": "Control", "version": "1.0", "weight": 1}),
        (Arm, {"name": "control", "version": "v1.0", "weight": 1}),
        (Allocation, {**msgspec.to_builtins(ALLOCATION), "name": "rollout-2"}),
        (Allocation, {**msgspec.to_builtins(ALLOCATION), "name": "roll out"}),
        (Rollout, {"version": "2.0", "before": "1.0", "plan": {"steps": [5]}, "step": -1}),
        (Release, {**msgspec.to_builtins(made_release({}, 1)), "release": 0}),
        (Release, {**msgspec.to_builtins(made_release({}, 1)), "verb": "wish"}),
        (Release, {**msgspec.to_builtins(made_release({}, 1)), "models": {"My Model": {}}}),
        (ReleasedVersion, {"sha256": "0" * 64, "settings": {}, "path": "x.mar"}),
    ],
)
def test_other_document_is_refused(kind: type[Any], document: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(document, kind)


def test_parameters_are_those_of_any_version_and_absent_where_none_has_some() -> None:
    plain = {"sha256": "0" * 64, "settings": {}}
    versions = {
        "1.0": plain | {"parameters": ["top_k"]},
        "2.0": plain | {"parameters": ["language", "top_k"]},
        "3.0": plain,
    }
    model = msgspec.convert({"default": "1.0", "versions": versions}, ReleasedModel)
    assert model.parameters == ["language", "top_k"]
    assert "parameters" not in msgspec.to_builtins(model)["versions"]["3.0"]
