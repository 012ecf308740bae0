"""A version and its archive are found by each of their names; a name of nothing is refused."""

from pathlib import Path

import pytest

from marloft.contract.manifest import WorkerSettings
from marloft.contract.release import ReleasedModel, ReleasedVersion
from marloft.deploy.release.names import find_archive, find_version
from marloft.errors import MarloftError, ReleaseError
from marloft.files import write_json
from tests.releases import made_release

PINNED = ReleasedVersion(sha256="a" * 64, settings=WorkerSettings())
RANKER = ReleasedModel(
    default="1.0",
    versions={"1.0": PINNED, "2.0": PINNED},
    aliases={"champion": "1.0", "challenger": "2.0"},
)
RELEASE = made_release({"ranker": RANKER, "other": RANKER}, 7)


@pytest.mark.parametrize(
    ("model", "version", "meant"),
    [
        (None, None, ("ranker", None)),
        ("other", None, ("other", None)),
        ("ranker", "2.0", ("ranker", "2.0")),
        (None, "challenger", ("ranker", "2.0")),
        ("ranker@2.0", None, ("ranker", "2.0")),
        ("other@champion", None, ("other", "1.0")),
        ("ranker@7.0", None, ("ranker", "7.0")),
    ],
)
def test_version_is_found_by_each_of_its_names(
    model: str | None, version: str | None, meant: tuple[str, str | None]
) -> None:
    assert find_version(RELEASE, model, version) == meant


@pytest.mark.parametrize(
    ("model", "version", "said"),
    [
        ("ranker@champoin", None, "no alias 'champoin' in release 7. Did you mean 'champion'?"),
        ("rankr@2.0", None, "no model 'rankr'. Did you mean 'ranker'?"),
        ("ranker@2.0", "1.0", "both name a version"),
        ("ranker@", None, "no alias ''"),
    ],
)
def test_name_that_means_nothing_is_refused(model: str, version: str | None, said: str) -> None:
    with pytest.raises(ReleaseError) as caught:
        find_version(RELEASE, model, version)
    assert said in str(caught.value)


@pytest.fixture
def var(tmp_path: Path) -> Path:
    write_json(tmp_path / "var" / "releases" / "000007.json", RELEASE)
    return tmp_path / "var"


def test_archive_is_found_by_path_by_version_and_by_alias(tmp_path: Path, var: Path) -> None:
    held = tmp_path / "ranker-2.0.mar"
    held.touch()
    assert find_archive("some/file.mar", tmp_path, var) == Path("some/file.mar")
    assert find_archive("ranker@2.0", tmp_path, tmp_path / "no_releases") == held
    assert find_archive("ranker@challenger", tmp_path, var) == held


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("ranker@3.0", "holds no ranker-3.0.mar"),
        ("ranker@3", "names no version"),
        ("../ranker@2.0", "names no version"),
        ("ranker@", "names no version"),
        ("ranker@chalenger", "no alias 'chalenger' in release 7"),
    ],
)
def test_archive_that_is_not_there_is_refused(
    tmp_path: Path, var: Path, named: str, message: str
) -> None:
    with pytest.raises(MarloftError, match=message):
        find_archive(named, tmp_path, var)
