"""A version is found by each of its names; a name that means nothing is refused."""

import pytest

from marloft.contract.manifest import WorkerSettings
from marloft.contract.release import ReleasedModel, ReleasedVersion
from marloft.deploy.release.names import find_version
from marloft.errors import ReleaseError
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
