"""Archives that pass every static check and do harm when they run: the replay refuses each."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from marloft.archive.pack import write_archive
from marloft.archive.replay import replay
from marloft.archive.sandbox.confinement import Isolation
from marloft.archive.verify import VerifyReport, verify
from tests import factories
from tests.hostile_archives.building import ARCHIVE, Members, read
from tests.hostile_archives.handlers import BEASTS, LIMITS, Beast

# One worker runs them all, two at a time.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("zoo_replay")]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = factories.write_project(tmp_path_factory.mktemp("project"))
    store = project / "model_store"
    return store / write_archive(project / "archive_configs" / "ranker_v1.yaml", store).file


@pytest.fixture(scope="module")
def members(good: Path) -> Members:
    return read(good)


@pytest.fixture(scope="module")
def tame(good: Path) -> VerifyReport:
    return replay(good, limits=LIMITS)


@pytest.fixture(scope="module")
def replayed(
    members: Members, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, "Future[VerifyReport]"]]:
    """Every beast's report, as it comes."""
    folder = tmp_path_factory.mktemp("beasts")

    def run(number: int, beast: Beast) -> VerifyReport:
        cage = folder / str(number)
        cage.mkdir()
        return replay(beast.write(members, cage / ARCHIVE), limits=beast.limits)

    with ThreadPoolExecutor(2) as pool:
        yield {beast.name: pool.submit(run, n, beast) for n, beast in enumerate(BEASTS)}
        pool.shutdown(cancel_futures=True)


def test_good_archive_is_replayed_and_says_how(tame: VerifyReport) -> None:
    assert tame.ok
    assert [check.code for check in tame.checks][-3:] == ["MRL020", "MRL021", "MRL022"]
    assert tame.log is None
    assert tame.isolation is not None
    assert tame.isolation.environment and tame.isolation.limits
    assert tame.isolation.complete == (tame.isolation.why is None)


@pytest.mark.parametrize("beast", BEASTS, ids=lambda beast: beast.name)
def test_beast_is_refused_by_its_code_and_culprit(
    beast: Beast, replayed: dict[str, "Future[VerifyReport]"], tame: VerifyReport
) -> None:
    if not granted(tame.isolation, beast.needs):
        pytest.skip(f"this kernel does not grant {beast.needs}")
    report = replayed[beast.name].result()
    failed = [check for check in report.checks if not check.ok]
    assert [(check.code, check.culprit) for check in failed] == beast.found, report.log
    assert beast.says in failed[0].message


def test_beast_that_fails_shows_its_traceback(replayed: dict[str, "Future[VerifyReport]"]) -> None:
    report = replayed["fails in load"].result()
    assert report.checks[-1].message == "KeyError: 'planted'"
    assert 'ranker.py", line' in str(report.log)


@pytest.mark.parametrize("beast", BEASTS, ids=lambda beast: beast.name)
def test_beast_passes_the_static_checks(beast: Beast, members: Members, tmp_path: Path) -> None:
    assert verify(beast.write(members, tmp_path / ARCHIVE)).ok


def granted(isolation: Isolation | None, what: str) -> bool:
    return bool(getattr(isolation, what))
