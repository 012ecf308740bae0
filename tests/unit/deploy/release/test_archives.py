"""An archive is found by path, version and alias; a name that means nothing is refused."""

from pathlib import Path

import pytest

from marloft.deploy.release.archives import find_archive
from marloft.errors import MarloftError
from marloft.files import write_json
from tests.unit.deploy.release.test_names import RELEASE


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
