"""Percentiles between two readings of a histogram that only grows."""

import math
from collections import Counter

import pytest

from harness.gateway_histogram import percentile

BEFORE = Counter({1.0: 5, 10.0: 5, 100.0: 8, math.inf: 9})


@pytest.mark.parametrize(
    ("added", "bound"),
    [
        ((99, 100, 100, 100), 1.0),
        ((98, 100, 100, 100), 10.0),
        ((0, 0, 99, 100), 100.0),
        ((0, 0, 0, 100), math.inf),
    ],
)
def test_percentile_is_the_bound_of_its_bucket(added: tuple[int, ...], bound: float) -> None:
    after = BEFORE + Counter(dict(zip(BEFORE, added, strict=True)))
    assert percentile(BEFORE, after, 0.99) == bound


def test_nothing_has_no_percentile() -> None:
    assert percentile(BEFORE, BEFORE, 0.99) is None
    assert percentile(Counter(), Counter(), 0.99) is None
