from typing import Any

import pytest
import xxhash

from marloft.assignment import arm_of, bucket, check_reweight, intervals
from marloft.contract.release import Allocation, Arm
from marloft.errors import ReleaseError
from tests.reference_cases import cases


def allocation(*weights: int, salt: str = "feed_ab", name: str = "feed_ab") -> Allocation:
    names = ["control", "treatment", "canary"]
    arms = [
        Arm(name=names[i], version=f"{i + 1}.0", weight=weight) for i, weight in enumerate(weights)
    ]
    return Allocation(name=name, salt=salt, unit="user_id", arms=arms)


@pytest.mark.parametrize("case", cases("xxh64"), ids=lambda case: case["name"])
def test_bucket_equals_reference_hashes(case: dict[str, Any]) -> None:
    for text, expected in zip(
        case["inputs"]["strings"], case["expected"]["hash_uint64"], strict=True
    ):
        salt, unit = text.split(":", 1)
        assert bucket(salt, unit, 2**64) == int(expected)


@pytest.mark.parametrize("case", cases("assignment"), ids=lambda case: case["name"])
def test_arm_of_equals_reference_assignment(case: dict[str, Any]) -> None:
    inputs = case["inputs"]
    arms = [Arm(name=name, version="1.0", weight=weight) for name, weight in inputs["weights"]]
    split = Allocation(name="feed", salt=inputs["salt"], unit="user_id", arms=arms)
    total = sum(weight for _, weight in inputs["weights"])
    units = inputs["unit_ids"]
    assert [bucket(split.salt, unit, total) for unit in units] == case["expected"]["bucket"]
    assert [arm_of(split, unit) for unit in units] == case["expected"]["arm"]


def test_intervals_are_consecutive_and_cover_every_bucket() -> None:
    found = intervals(allocation(90, 9, 1))
    assert [(i.arm, i.start, i.stop) for i in found] == [
        ("control", 0, 90),
        ("treatment", 90, 99),
        ("canary", 99, 100),
    ]


def test_arm_shares_follow_the_weights() -> None:
    split = allocation(80, 20)
    share = sum(arm_of(split, str(unit)) == "treatment" for unit in range(20_000)) / 20_000
    assert share == pytest.approx(0.2, abs=4 * (0.2 * 0.8 / 20_000) ** 0.5)


@pytest.mark.parametrize("new", [(90, 10), (50, 50), (1, 99)])
def test_reweight_from_control_to_treatment_is_allowed(new: tuple[int, int]) -> None:
    check_reweight(allocation(90, 10), allocation(*new))


def test_allowed_reweight_never_takes_a_unit_out_of_a_treatment() -> None:
    old, new = allocation(90, 10), allocation(60, 40)
    check_reweight(old, new)
    for unit in map(str, range(5_000)):
        number = xxhash.xxh64_intdigest(f"feed_ab:{unit}".encode()) % 100
        before, after = number >= 90, number >= 60
        assert after or not before
        assert arm_of(new, unit) == ("treatment" if after else "control")


@pytest.mark.parametrize(
    ("old", "new", "moved"),
    [
        ((50, 50), (60, 40), "buckets 50 to 59 from 'treatment' to 'control'"),
        ((80, 10, 10), (60, 20, 20), "buckets 80 to 89 from 'treatment' to 'canary'"),
    ],
)
def test_reweight_out_of_a_treatment_is_refused(
    old: tuple[int, ...], new: tuple[int, ...], moved: str
) -> None:
    with pytest.raises(ReleaseError, match=moved) as refusal:
        check_reweight(allocation(*old), allocation(*new))
    assert "--reassign" in str(refusal.value)


def test_reweight_with_another_total_is_refused() -> None:
    with pytest.raises(ReleaseError, match="add up to 10, before it was 100"):
        check_reweight(allocation(90, 10), allocation(9, 1))


@pytest.mark.parametrize(
    "new",
    [allocation(90, 10, salt="other"), allocation(90, 10, name="other"), allocation(80, 10, 10)],
)
def test_reweight_of_another_design_is_refused(new: Allocation) -> None:
    with pytest.raises(ReleaseError, match="end "):
        check_reweight(allocation(90, 10), new)
