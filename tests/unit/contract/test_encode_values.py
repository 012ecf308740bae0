"""Values of handlers become JSON, or are refused with what is allowed."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from marloft.contract.encode_values import array_of, check_extra, json_of, listed, plain_numbers


@pytest.mark.parametrize("values", [[1, 2], (1, 2), range(1, 3), np.array([1, 2])])
def test_lists_and_arrays_are_lists_of_plain_values(values: Sequence[Any]) -> None:
    assert listed("ids", values) == [1, 2]
    assert all(type(each) is int for each in listed("ids", values))


@pytest.mark.parametrize("values", ["ab", {"a": 1}, {1, 2}, iter([1]), 5, None])
def test_what_is_no_list_is_refused(values: object) -> None:
    with pytest.raises(TypeError, match=f"ids as {type(values).__name__}; allowed: a list"):
        listed("ids", values)


@pytest.mark.parametrize("values", [[True], ["1"], [None], np.array([1, 2.0], dtype=object)])
def test_only_numbers_are_numbers(values: Any) -> None:
    with pytest.raises(TypeError, match="allowed: numbers"):
        array_of("values", values, (len(values),))


def test_long_double_has_the_digits_of_a_double() -> None:
    assert plain_numbers(np.array([0.1], dtype=np.longdouble)) == [0.1]


def test_what_is_not_json_is_told_with_the_cure() -> None:
    with pytest.raises(TypeError, match=r"float32 is unsupported; convert .* with .tolist\(\)"):
        json_of("values", [{"a": np.float32(1)}])


@pytest.mark.parametrize("extra", [[1], "a", 5])
def test_extra_is_a_dict_since_readers_drop_another_record(extra: object) -> None:
    check_extra(None)
    check_extra({"unknown": 3})
    with pytest.raises(TypeError, match="allowed: a dict"):
        check_extra(extra)
