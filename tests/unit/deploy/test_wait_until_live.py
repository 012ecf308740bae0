"""Waiting for a release ends when it is live, refused, taken back, or too late; never before."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from marloft.contract.live import Live, VersionState, live_path
from marloft.contract.manifest import WorkerSettings
from marloft.contract.policy import RolloutPlan
from marloft.contract.release import (
    Release,
    ReleasedModel,
    ReleasedVersion,
    release_path,
    releases_folder,
)
from marloft.deploy.release.rollouts import abandon, begin
from marloft.deploy.release.write import write_step
from marloft.deploy.running import exclusive
from marloft.deploy.wait_until_live import next_steps, wait_until_live
from marloft.errors import ServingError, StepError
from marloft.files import write_json
from tests.releases import made_release

PINNED = ReleasedVersion(sha256="a" * 64, settings=WorkerSettings())
OLD = ReleasedModel(default="1.0", versions={"1.0": PINNED})
NEW = ReleasedModel(default="2.0", versions={"2.0": PINNED})
RAMP = begin(OLD, NEW, RolloutPlan(steps=[5, 50], hold_s=60))


def decided(var: Path, number: int, model: ReleasedModel) -> Release:
    release = made_release({"ranker": model}, number)
    write_json(release_path(releases_folder(var), number), release)
    return release


def reported(var: Path, release: int, live: bool, **states: VersionState) -> None:
    versions = {name.replace("_", ".")[1:]: state for name, state in states.items()}
    report = Live(time="now", release=release, live=live, serving={}, versions={"ranker": versions})
    write_json(live_path(var), report)


@pytest.fixture
def var(tmp_path: Path) -> Iterator[Path]:
    """A state folder on which a `marloft serve` runs."""
    with exclusive(tmp_path):
        yield tmp_path


def test_nothing_to_follow_when_no_server_runs(tmp_path: Path) -> None:
    assert not wait_until_live(tmp_path, decided(tmp_path, 1, OLD), print)


def test_release_that_is_live_ends_the_wait(var: Path) -> None:
    reported(var, 2, live=True)
    assert wait_until_live(var, decided(var, 2, OLD), print, timeout_s=0)
    assert wait_until_live(var, decided(var, 1, OLD), print, timeout_s=0), "a later one is live"


def test_report_of_before_is_no_end(var: Path) -> None:
    reported(var, 1, live=True)
    with pytest.raises(StepError, match="release 2 is not live after 0 s; `marloft status`"):
        wait_until_live(var, decided(var, 2, OLD), print, timeout_s=0)


def test_missing_report_is_waited_for(var: Path) -> None:
    release = decided(var, 1, OLD)
    late = threading.Timer(0.3, reported, (var, 1, True))
    late.start()
    assert wait_until_live(var, release, print, timeout_s=10)
    late.join()


def test_states_on_the_way_are_told_once(var: Path) -> None:
    told: list[str] = []
    reported(var, 1, live=False, v1_0=VersionState(state="loading"))
    late = threading.Timer(0.4, reported, (var, 1, True))
    late.start()
    assert wait_until_live(var, decided(var, 1, OLD), told.append, timeout_s=10)
    late.join()
    assert told == ["ranker 1.0 is loading"]


def test_refused_version_ends_the_wait_with_its_reason(var: Path) -> None:
    why = "golden answer 3 differs by 0.2"
    reported(var, 1, live=False, v1_0=VersionState(state="refused", why=why))
    with pytest.raises(ServingError, match=r"ranker 1\.0 gets no traffic: golden answer 3"):
        wait_until_live(var, decided(var, 1, OLD), print)


def test_release_that_was_taken_back_is_no_success(var: Path) -> None:
    decided(var, 1, OLD)
    release = decided(var, 2, RAMP)
    assert write_step(var, 2, "ranker", abandon(RAMP), "rollback", "2.0 cannot start")
    reported(var, 3, live=True)
    with pytest.raises(ServingError, match=r"taken back by release 3: 2\.0 cannot start"):
        wait_until_live(var, release, print)


def test_server_that_ends_ends_the_wait(tmp_path: Path) -> None:
    release = decided(tmp_path, 1, OLD)
    server = exclusive(tmp_path)
    server.__enter__()
    end = threading.Timer(0.3, server.__exit__, (None, None, None))
    end.start()
    with pytest.raises(StepError, match="ended before release 1 was live"):
        wait_until_live(tmp_path, release, print, timeout_s=10)
    end.join()


def test_next_steps_say_what_comes_and_who_does_it(tmp_path: Path) -> None:
    (line,) = next_steps(decided(tmp_path, 1, RAMP))
    assert line.startswith("ranker 2.0 has 5 % of the traffic; 50 % follow after 60 s and 50")
    assert "this terminal may close" in line
    assert next_steps(decided(tmp_path, 2, NEW)) == []
