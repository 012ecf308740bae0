"""Long runs, by `make soak`: memory stays flat, good versions survive, and the checks can fail."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.ranker_serving import RankerServing, prepare
from harness.soak import LIMIT_MB_PER_MIN, Soak, soak
from tests.e2e.running import Driver, Serving, marloft
from tests.e2e.test_rollout import newest, project_with, write

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]

SOAK_S = 900
LEAK_S, LEAK_SETTLE_S = 150, 60
LEAK_RATE = 50
LIVE_S = 120


def run(folder: Path, seconds: float, settle_s: float, rate: float | None) -> Soak:
    with RankerServing(prepare(folder)) as serving:
        return soak(serving, seconds, print, settle_s=settle_s, rate=rate)


def test_memory_stays_flat_at_70_percent_of_capacity(tmp_path: Path) -> None:
    found = run(tmp_path, SOAK_S, 300, None)
    assert found.failed == 0
    assert found.slope_mb_per_min < LIMIT_MB_PER_MIN, found


def test_same_check_flags_a_handler_that_leaks(tmp_path: Path) -> None:
    """2 KB kept per row of a request of three: about 18 MB a minute at 50 requests a second."""
    folder = prepare(tmp_path, handler=LEAKING)
    with RankerServing(folder) as serving:
        found = soak(serving, LEAK_S, print, settle_s=LEAK_SETTLE_S, rate=LEAK_RATE)
    assert found.slope_mb_per_min > LIMIT_MB_PER_MIN, found


LEAKING = """

_kept = []
_encode = RankerHandler.encode


def _leak(self, request, outputs):
    _kept.append(bytes(6144))
    return _encode(self, request, outputs)


RankerHandler.encode = _leak
"""


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    with Serving(project_with(tmp_path)) as running:
        yield running


@pytest.mark.parametrize("run_number", [1, 2])
def test_version_that_is_as_good_survives_two_minutes(serving: Serving, run_number: int) -> None:
    with Driver(serving, rate=50) as driver:
        write(serving.project, "1.1", steps="20", hold_s=2 * LIVE_S)
        marloft(serving.project, "apply")
        time.sleep(LIVE_S)
        assert newest(serving.project).verb == "apply", newest(serving.project).reason
    assert [each for each in driver.sent if each.status != 200] == []
