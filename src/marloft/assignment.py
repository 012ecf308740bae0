"""Which arm a unit belongs to: salt and unit give a bucket, the bucket lies in one arm's interval.

The rule is the gateway's own (Envoy's `use_hash_policy` on weighted clusters, xxHash64 seed 0), so
that the arm of a request can be recomputed from the release in its record and nothing else.
https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
"""

import itertools
from collections.abc import Iterator

import xxhash
from msgspec import Struct

from marloft.contract.release import Allocation
from marloft.errors import ReleaseError


class Interval(Struct, frozen=True, kw_only=True):
    """The buckets `start` (included) to `stop` (excluded) that belong to `arm`."""

    arm: str
    start: int
    stop: int


def bucket(salt: str, unit: str, total: int) -> int:
    """Return `xxh64("<salt>:<unit>", seed 0) % total`, an integer in [0, total)."""
    return xxhash.xxh64_intdigest(f"{salt}:{unit}".encode()) % total


def total_weight(allocation: Allocation) -> int:
    """Return the number of buckets: the sum of the arms' weights."""
    return sum(arm.weight for arm in allocation.arms)


def intervals(allocation: Allocation) -> list[Interval]:
    """Return each arm's buckets: consecutive, without gaps, in the order of the arms."""
    found = []
    start = 0
    for arm in allocation.arms:
        found.append(Interval(arm=arm.name, start=start, stop=start + arm.weight))
        start += arm.weight
    return found


def arm_of_bucket(allocation: Allocation, number: int) -> str:
    """Return the name of the arm that owns bucket `number`.

    Raises:
        ReleaseError: the bucket is outside [0, total).
    """
    for interval in intervals(allocation):
        if interval.start <= number < interval.stop:
            return interval.arm
    raise ReleaseError(
        f"bucket {number} is outside allocation {allocation.name!r}; "
        f"its buckets are 0 to {total_weight(allocation) - 1}."
    )


def arm_of(allocation: Allocation, unit: str) -> str:
    """Return the name of the arm that `unit` (the user id as text) belongs to."""
    return arm_of_bucket(allocation, bucket(allocation.salt, unit, total_weight(allocation)))


def check_reweight(old: Allocation, new: Allocation) -> None:
    """Refuse a weight change that would show a unit two treatments or take it out of one.

    Allowed: the same name, salt, unit, arms and total, where each bucket either keeps its arm or
    goes from control (the first arm) to a treatment.

    Raises:
        ReleaseError: the change is not of that kind; the message names the first such bucket.
    """
    _check_same_design(old, new)
    if total_weight(old) != total_weight(new):
        raise ReleaseError(
            f"the weights of {new.name!r} add up to {total_weight(new)}, before it was "
            f"{total_weight(old)}; keep the sum, or force it with --reassign, "
            "which starts the analysis from the beginning."
        )
    control = old.arms[0].name
    for moved in _moves(old, new):
        if moved[2] != control:
            raise ReleaseError(
                f"the weights of {new.name!r} move buckets {moved[0]} to {moved[1] - 1} from "
                f"{moved[2]!r} to {moved[3]!r}; units may only move from {control!r} to a "
                "treatment. Choose other weights, or force it with --reassign, "
                "which starts the analysis from the beginning."
            )


def _check_same_design(old: Allocation, new: Allocation) -> None:
    for field in ("name", "salt", "unit"):
        before, after = getattr(old, field), getattr(new, field)
        if before != after:
            raise ReleaseError(
                f"{field} {after!r} differs from the running experiment's {before!r}; "
                "end that experiment first (promote or rollback)."
            )
    arms_before = [(arm.name, arm.version) for arm in old.arms]
    arms_after = [(arm.name, arm.version) for arm in new.arms]
    if arms_before != arms_after:
        raise ReleaseError(
            f"the arms of {new.name!r} are {arms_after}, before they were {arms_before}; only "
            "weights may change while it runs: end it (promote or rollback), then start another."
        )


def _moves(old: Allocation, new: Allocation) -> Iterator[tuple[int, int, str, str]]:
    """Yield (start, stop, old arm, new arm) for each run of buckets whose arm changes."""
    edges = {edge for a in (old, new) for i in intervals(a) for edge in (i.start, i.stop)}
    ordered = sorted(edges)
    for start, stop in itertools.pairwise(ordered):
        before, after = arm_of_bucket(old, start), arm_of_bucket(new, start)
        if before != after:
            yield start, stop, before, after
