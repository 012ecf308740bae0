"""Archives, releases and route files that an earlier commit wrote are still what they were."""

import json
from pathlib import Path

import pytest

from harness.factories import EARLIER
from marloft.archive.inspection import inspect
from marloft.archive.replay import replay
from marloft.archive.verify import verify
from marloft.contract.release import newest_number, read_release
from marloft.deploy.gateway.discovery_files import file_version
from marloft.deploy.gateway.observed_routes import ModelRoutes, model_routes
from marloft.deploy.gateway.routes import render_routes
from marloft.deploy.release.in_force import read_label
from marloft.deploy.release.write import rollback
from marloft.deploy.store import list_store

STORE, RELEASES = EARLIER / "model_store", EARLIER / "releases"
ROUTES = (EARLIER / "routes" / "routes.json").read_bytes()
ARCHIVES = sorted(STORE.glob("*.mar"))


def test_there_are_archives() -> None:
    names = ["outcomes-1.0.mar", "ranker-1.0.mar", "ranker-2.0.mar"]
    assert [path.name for path in ARCHIVES] == names


@pytest.mark.parametrize("path", ARCHIVES, ids=lambda path: path.name)
def test_archive_verifies_and_is_described(path: Path) -> None:
    report = verify(path)
    assert report.ok, [check for check in report.checks if not check.ok]
    assert inspect(path).sha256 == report.sha256


def meaning(routes: bytes) -> dict[str, ModelRoutes]:
    """Return who gets what by a route file."""
    (config,) = json.loads(routes)["resources"]
    return model_routes(config["virtual_hosts"][0]["routes"])


@pytest.mark.slow
@pytest.mark.parametrize("path", ARCHIVES, ids=lambda path: path.name)
def test_archive_replays(path: Path) -> None:
    report = replay(path)
    assert report.ok, [check for check in report.checks if not check.ok]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_release_is_read(number: int) -> None:
    release = read_release(RELEASES, number)
    assert release.release == number
    assert set(release.models) == {"ranker", "outcomes"}


def test_release_of_a_rollout_says_what_it_said() -> None:
    model = read_release(RELEASES, 2).models["ranker"]
    assert model.rollout is not None
    assert (model.default, model.rollout.version, model.rollout.step) == ("1.0", "2.0", 0)
    assert model.allocation is not None
    assert [arm.weight for arm in model.allocation.arms] == [95, 5]
    assert model.aliases == {"challenger": "2.0", "champion": "1.0"}


def test_route_file_is_read_and_its_routes_are_still_those() -> None:
    in_force = read_label(file_version(ROUTES), lambda number: read_release(RELEASES, number))
    assert in_force is not None
    assert in_force.numbers == {"outcomes": 2, "ranker": 2}
    rendered = render_routes(in_force.front, in_force=in_force)
    assert meaning(rendered) == meaning(ROUTES) != {}


def test_releases_name_the_bytes_of_the_store() -> None:
    found = {each.file: each.release for each in list_store(STORE, EARLIER)}
    assert found == {"outcomes-1.0.mar": 3, "ranker-1.0.mar": 3, "ranker-2.0.mar": 2}


def test_a_new_release_goes_back_to_an_old_one(tmp_path: Path) -> None:
    folder = tmp_path / "releases"
    folder.mkdir()
    for path in RELEASES.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    release = rollback(tmp_path, STORE, to=1)
    assert (release.release, newest_number(folder)) == (4, 4)
    assert release.models == read_release(RELEASES, 1).models
