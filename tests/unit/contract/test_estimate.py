"""An estimate: sides that the data cannot bound stay unbounded when it is written and read."""

import msgspec

from marloft.contract.estimate import Estimate


def test_unbounded_sides_read_back_as_they_were_written() -> None:
    estimate = Estimate(value=0.02, low=None, high=0.04, p=None, n=200, method="delta method")
    written = msgspec.json.encode(estimate)
    assert b'"low":null' in written
    assert msgspec.json.decode(written, type=Estimate) == estimate
