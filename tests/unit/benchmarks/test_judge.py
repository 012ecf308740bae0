"""The judge of the life-cycle benchmark: what it calls a fault, and that it finds each."""

from collections import Counter
from typing import Any

import pytest

from benchmarks.judge import Judge, away_s
from marloft.assignment import arm_of
from marloft.contract.manifest import WorkerSettings
from marloft.contract.release import Allocation, Arm, Release, ReleasedModel, ReleasedVersion
from tests.releases import made_release
from tests.unit.benchmarks.made_requests import sent_request

PINNED = ReleasedVersion(sha256="0" * 64, settings=WorkerSettings())
GOOD = sent_request(sent_s=100.0, release=2, version="v2.0")


def release(number: int, default: str) -> Release:
    model = ReleasedModel(default=default, versions={"1.0": PINNED, "2.0": PINNED})
    return made_release({"ranker": model}, number)


@pytest.fixture
def judge() -> Judge:
    """A judge who has read a log of one record: request `a`, answered by release 2's 2.0."""
    found = Judge.__new__(Judge)
    found._model = "ranker"
    found._releases = {1: release(1, "1.0"), 2: release(2, "2.0")}
    found._logged = {
        "a": (2, "2.0", "2.0", None),
        "b": (1, "1.0", "1.0", None),
        "c": (2, "1.0", "2.0", None),
        "resting": (3, "1.0", "1.0", None),
        "in it": (3, "1.0", "1.0", "ab"),
    }
    found._times = Counter(["a", "b", "c", "twice", "twice", "resting", "in it"])
    found._users = Counter(["7", "7", None])
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


def test_default_is_right_for_everybody_while_a_split_rests(judge: Judge) -> None:
    arms = [Arm(name="control", version="1.0", weight=1), Arm(name="new", version="2.0", weight=99)]
    split = Allocation(name="ab", salt="ab", unit="user_id", arms=arms)
    model = ReleasedModel(default="1.0", versions={"1.0": PINNED, "2.0": PINNED}, allocation=split)
    judge._releases[3] = made_release({"ranker": model}, 3)
    user = next(n for n in range(100) if arm_of(split, str(n)) == "new")
    resting = GOOD._replace(request_id="resting", version="v1.0", user=user)
    assert judge.fault(resting) is None
    assert judge.rested([resting, GOOD]) == 1
    assert "v2.0 was meant" in (judge.fault(resting._replace(request_id="in it")) or "")


def test_records_of_a_user_are_counted(judge: Judge) -> None:
    assert (judge.records_of("7"), judge.records_of("8")) == (2, 0)


def test_lost_are_answers_without_their_one_record(judge: Judge) -> None:
    twice, none = GOOD._replace(request_id="twice"), GOOD._replace(request_id="z")
    refused = none._replace(status=503)
    assert judge.lost([GOOD, twice, none, refused]) == 2


def test_away_is_from_the_first_failure_to_the_last() -> None:
    failed = [GOOD._replace(status=503, sent_s=at, took_s=0.5) for at in (10.0, 12.0)]
    assert away_s([GOOD, *failed]) == 2.5
    assert away_s([GOOD]) == 0.0
