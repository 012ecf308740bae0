"""The judge of the life-cycle benchmark: what it calls a fault, and that it finds each."""

from collections import Counter
from typing import Any

import pytest

from benchmarks.judge import Judge, away_s
from harness.driver import SentRequest
from marloft.contract.manifest import WorkerSettings
from marloft.contract.release import Release, ReleasedModel, ReleasedVersion
from tests.releases import made_release

PINNED = ReleasedVersion(sha256="0" * 64, settings=WorkerSettings())
GOOD = SentRequest(
    sent_s=100.0,
    took_s=0.01,
    user=1,
    release=2,
    status=200,
    version="v2.0",
    request_id="a",
    retry_after=False,
    detail="",
)


def release(number: int, default: str) -> Release:
    model = ReleasedModel(default=default, versions={"1.0": PINNED, "2.0": PINNED})
    return made_release({"ranker": model}, number)


@pytest.fixture
def judge() -> Judge:
    """A judge who has read a log of one record: request `a`, answered by release 2's 2.0."""
    found = Judge.__new__(Judge)
    found._model = "ranker"
    found._releases = {1: release(1, "1.0"), 2: release(2, "2.0")}
    found._logged = {"a": (2, "2.0", "2.0"), "b": (1, "1.0", "1.0"), "c": (2, "1.0", "2.0")}
    found._times = Counter(["a", "b", "c", "twice", "twice"])
    return found


def test_right_answer_has_no_fault(judge: Judge) -> None:
    assert judge.fault(GOOD) is None


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"status": 503, "detail": "x"}, "status 503"),
        ({"status": 0, "detail": "ReadError"}, "status 0"),
        ({"took_s": 5.1}, "took 5.1 s"),
        ({"request_id": "unlogged"}, "0 records"),
        ({"request_id": "twice"}, "2 records"),
        ({"request_id": "b", "version": "v1.0"}, "answered by release 1, 2 was live"),
        ({"request_id": "c", "version": "v1.0"}, "v2.0 was meant"),
        ({"version": "v1.0"}, "v1.0 said"),
    ],
)
def test_each_fault_is_found(judge: Judge, changes: dict[str, Any], fault: str) -> None:
    assert fault in (judge.fault(GOOD._replace(**changes)) or "")


def test_lost_are_answers_without_their_one_record(judge: Judge) -> None:
    twice, none = GOOD._replace(request_id="twice"), GOOD._replace(request_id="z")
    refused = none._replace(status=503)
    assert judge.lost([GOOD, twice, none, refused]) == 2


def test_away_is_from_the_first_failure_to_the_last() -> None:
    failed = [GOOD._replace(status=503, sent_s=at, took_s=0.5) for at in (10.0, 12.0)]
    assert away_s([GOOD, *failed]) == 2.5
    assert away_s([GOOD]) == 0.0
