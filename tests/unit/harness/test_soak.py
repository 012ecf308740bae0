"""The slope of memory over time, which says whether a soak leaks."""

import pytest

from harness.soak import slope_mb_per_min


def test_slope_is_that_of_the_samples_after_settling() -> None:
    samples = [
        (t * 5.0, 100.0 if t < 12 else 100.0 + (t - 12) * 5.0 / 60.0 * 3.0) for t in range(60)
    ]
    assert slope_mb_per_min(samples, 60.0) == pytest.approx(3.0, abs=1e-6)


def test_slope_of_two_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="2 samples after 60 s"):
        slope_mb_per_min([(0.0, 1.0), (70.0, 1.0), (80.0, 1.0)], 60.0)
