"""Bounds are told as contradictory exactly when no value is within them."""

from hypothesis import given
from hypothesis import strategies as st

from marloft.contract.schema import Property
from marloft.contract.schema.bounds import article, bound_faults

LIMITS = st.none() | st.integers(-6, 6)
SIDES = st.tuples(st.sampled_from(["closed", "open"]), LIMITS)


@given(SIDES, SIDES, st.none() | st.integers(1, 5))
def test_whole_numbers_in_range_are_counted(
    low: tuple[str, int | None], high: tuple[str, int | None], step: int | None
) -> None:
    given_words = {
        {"closed": "minimum", "open": "exclusiveMinimum"}[low[0]]: low[1],
        {"closed": "maximum", "open": "exclusiveMaximum"}[high[0]]: high[1],
        "multipleOf": step,
    }
    words = {word: value for word, value in given_words.items() if value is not None}
    allowed = [
        value
        for value in range(-20, 20)
        if value >= words.get("minimum", -20)
        and value > words.get("exclusiveMinimum", -21)
        and value <= words.get("maximum", 20)
        and value < words.get("exclusiveMaximum", 21)
        and value % words.get("multipleOf", 1) == 0
    ]
    told = list(bound_faults(Property(type="integer"), dict(words), ()))
    assert bool(told) is not bool(allowed)


def test_types_have_their_article() -> None:
    assert [article(kind) for kind in ("integer", "string", "array", "object")] == [
        "an integer", "a string", "an array", "an object",
    ]  # fmt: skip
