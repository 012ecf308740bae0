from typing import Any

import pytest

from marloft.assignment import arm_of
from marloft.contract.release import Allocation, Arm
from marloft.experiment.trust import (
    ServedGroup,
    check_assignment,
    check_served_arm,
    check_srm,
    current_phase,
    srm_p,
)
from tests.reference_cases import cases, near


def allocation(*weights: int) -> Allocation:
    arms = [
        Arm(name=name, version=version, weight=weight)
        for name, version, weight in zip(
            ("control", "treatment"), ("1.0", "2.0"), weights, strict=True
        )
    ]
    return Allocation(name="feed", salt="feed", unit="user_id", arms=arms)


SPLIT = {1: allocation(50, 50)}


def group(user_id: str | None = "7", **changes: Any) -> ServedGroup:
    arm = arm_of(SPLIT[1], user_id or "")
    version = {"control": "1.0", "treatment": "2.0"}[arm]
    fields: dict[str, Any] = {
        "release": 1,
        "model": "ranker",
        "arm": arm,
        "version": version,
        "intended_version": version,
        "user_id": user_id,
        "example": "r1",
    }
    return ServedGroup(**(fields | changes))


@pytest.mark.parametrize("case", cases("srm"), ids=lambda c: c["name"])
def test_srm_p_equals_the_reference(case: dict[str, Any]) -> None:
    weights = [round(100 * share) for share in case["inputs"]["expected_fractions"]]
    p = srm_p(case["inputs"]["observed"], weights)
    assert p == near(case, case["expected"]["p_value"])
    assert (p < 0.001) == case["expected"]["srm_at_0_001"]


def test_srm_names_the_arm_with_the_gap() -> None:
    check, _ = check_srm(allocation(90, 10), {"control": 9_000, "treatment": 800})
    assert (check.code, check.ok, check.culprit) == ("srm", False, "arm treatment")
    assert check_srm(allocation(90, 10), {"control": 9_000, "treatment": 1_000})[0].ok


def test_records_as_the_split_says_pass_both_arm_checks() -> None:
    groups = [group(str(user)) for user in range(50)] + [group("7", intended_version=None)]
    assert check_served_arm(groups, SPLIT).ok
    assert check_assignment(groups, SPLIT).ok


@pytest.mark.parametrize("changes", [{"version": "3.0"}, {"intended_version": "3.0"}])
def test_version_that_is_not_its_arms_is_refused(changes: dict[str, str]) -> None:
    check = check_served_arm([group("8"), group("7", **changes)], SPLIT)
    assert (check.code, check.ok, check.culprit) == ("served_arm", False, "request r1")


def test_arm_that_is_not_its_users_is_refused() -> None:
    other = {"control": "treatment", "treatment": "control"}[group("7").arm or ""]
    check = check_assignment([group("8"), group("7", arm=other)], SPLIT)
    assert (check.code, check.ok) == ("assignment", False)
    assert repr(other) in check.message


def test_record_with_an_arm_but_no_user_is_refused() -> None:
    assert not check_assignment([group(None)], SPLIT).ok


def test_current_phase_is_the_newest_run_of_equal_weights() -> None:
    releases = {
        1: allocation(50, 50),
        2: allocation(90, 10),
        4: allocation(50, 50),
        7: allocation(50, 50),
    }
    assert current_phase(releases) == [4, 7]
    assert current_phase({}) == []
