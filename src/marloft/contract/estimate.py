"""What an analysis says about one number: the estimate with its interval."""

from msgspec import Struct


class Estimate(Struct, frozen=True, kw_only=True):
    """A number with its confidence interval.

    `low` or `high` is None where the data cannot bound that side; `p` is the two-sided p-value of
    "no effect" (None where there is no such null). `n` counts the independent units behind it
    (users, both arms together, unless `method` says otherwise). `method` names the formula.
    """

    value: float
    low: float | None
    high: float | None
    p: float | None
    n: int
    method: str
