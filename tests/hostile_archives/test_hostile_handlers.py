"""Archives that pass every static check and do harm when they run: the replay refuses each."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from harness import factories
from harness.hostile_archives.building import ARCHIVE, Members, read
from harness.hostile_archives.handlers import HOSTILE_HANDLERS, LIMITS, HostileHandler
from marloft.archive.pack import write_archive
from marloft.archive.replay import replay
from marloft.archive.sandbox.confinement import Isolation
from marloft.archive.verify import VerifyReport, verify

# One worker runs them all, two at a time.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("hostile_replay")]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = factories.write_project(tmp_path_factory.mktemp("project"))
    store = project / "model_store"
    return store / write_archive(project / "archive_configs" / "ranker_v1.yaml", store).file


@pytest.fixture(scope="module")
def members(good: Path) -> Members:
    return read(good)


@pytest.fixture(scope="module")
def good_report(good: Path) -> VerifyReport:
    return replay(good, limits=LIMITS)


@pytest.fixture(scope="module")
def replayed(
    members: Members, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, "Future[VerifyReport]"]]:
    """Every hostile handler's report, as it comes."""
    folder = tmp_path_factory.mktemp("hostile")

    def run(number: int, hostile: HostileHandler) -> VerifyReport:
        place = folder / str(number)
        place.mkdir()
        return replay(hostile.write(members, place / ARCHIVE), limits=hostile.limits)

    with ThreadPoolExecutor(2) as pool:
        yield {
            hostile.name: pool.submit(run, n, hostile) for n, hostile in enumerate(HOSTILE_HANDLERS)
        }
        pool.shutdown(cancel_futures=True)


def test_good_archive_is_replayed_and_says_how(good_report: VerifyReport) -> None:
    assert good_report.ok
    assert [check.code for check in good_report.checks][-3:] == ["MRL020", "MRL021", "MRL022"]
    assert good_report.log is None
    assert good_report.isolation is not None
    assert good_report.isolation.environment and good_report.isolation.limits
    assert good_report.isolation.complete == (good_report.isolation.why is None)


@pytest.mark.parametrize("hostile", HOSTILE_HANDLERS, ids=lambda hostile: hostile.name)
def test_hostile_handler_is_refused_by_its_code_and_culprit(
    hostile: HostileHandler, replayed: dict[str, "Future[VerifyReport]"], good_report: VerifyReport
) -> None:
    if not granted(good_report.isolation, hostile.needs):
        pytest.skip(f"this kernel does not grant {hostile.needs}")
    report = replayed[hostile.name].result()
    failed = [check for check in report.checks if not check.ok]
    assert [(check.code, check.culprit) for check in failed] == hostile.found, report.log
    assert hostile.says in failed[0].message


def test_handler_that_fails_shows_its_traceback(
    replayed: dict[str, "Future[VerifyReport]"],
) -> None:
    report = replayed["fails in load"].result()
    assert report.checks[-1].message.startswith("KeyError: 'planted' (ranker.py:")
    assert 'ranker.py", line' in str(report.log)


@pytest.mark.parametrize("hostile", HOSTILE_HANDLERS, ids=lambda hostile: hostile.name)
def test_hostile_handler_passes_the_static_checks(
    hostile: HostileHandler, members: Members, tmp_path: Path
) -> None:
    assert verify(hostile.write(members, tmp_path / ARCHIVE)).ok


def granted(isolation: Isolation | None, what: str) -> bool:
    return bool(getattr(isolation, what))
