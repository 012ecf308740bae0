"""Whether a fault was survived: recovered, nothing lost, told in time."""

from collections import Counter
from typing import Any

import pytest
from msgspec.structs import replace

from benchmarks.judge import Judge
from benchmarks.recovery import Seen, judged
from harness.faults.fault import Fault, nothing
from tests.unit.benchmarks.made_requests import sent_request

FAULT = Fault(name="disk full: var/run", named="space", begin=nothing)
SEEN = Seen(
    fault=FAULT,
    first=0,
    last=3,
    told="! the state folder: No space left on device",
    told_s=1.2,
    status_s=0.6,
    recovered_s=0.5,
    supervisor_ended=False,
)
GOOD = sent_request()
LATER = GOOD._replace(status=503, retry_after=True, request_id=None)
AWAY = GOOD._replace(status=0, detail="ConnectError('refused')", request_id=None)
FAILED = GOOD._replace(status=503, detail="no word when", request_id=None)


@pytest.fixture
def judge() -> Judge:
    found = Judge.__new__(Judge)
    found._times = Counter(["a"])
    return found


def test_failures_are_counted_by_what_they_say(judge: Judge) -> None:
    body = '{"detail":"It was late.","request_id":"%s","status":504}'
    late = [FAILED._replace(status=504, detail=body % name) for name in "abc"]
    assert judged(judge, SEEN, late).failed == {"status 504: It was late.": 3}


def test_fault_that_was_told_and_lost_nothing_is_survived(judge: Judge) -> None:
    row = judged(judge, SEEN, [GOOD, LATER, AWAY, FAILED])
    assert row.survived
    assert (row.unavailable, row.refused, row.failed) == (1, 1, {"status 503: no word when": 1})
    assert row.requests == 4


@pytest.mark.parametrize(
    "changes",
    [
        {"recovered_s": None},
        {"told": "", "told_s": None},
        {"told_s": 5.1},
        {"status_s": 5.1},
        {"supervisor_ended": True},
    ],
)
def test_each_way_not_to_survive(judge: Judge, changes: dict[str, Any]) -> None:
    assert not judged(judge, replace(SEEN, **changes), [GOOD]).survived


def test_lost_record_is_not_survived(judge: Judge) -> None:
    row = judged(judge, SEEN, [GOOD, GOOD._replace(request_id="b")])
    assert (row.lost, row.survived) == (1, False)


def test_harmless_fault_need_not_be_told_while_nothing_fails(judge: Judge) -> None:
    quiet = replace(SEEN, fault=replace(FAULT, harmless=True), told="", told_s=None)
    assert judged(judge, quiet, [GOOD]).survived
    assert not judged(judge, quiet, [GOOD, LATER]).survived
    assert not judged(judge, quiet, [GOOD, AWAY]).survived
    assert not judged(judge, quiet, [GOOD, FAILED]).survived
