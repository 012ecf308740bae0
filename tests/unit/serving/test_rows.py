"""Arrays of a batch: refused when their rows do not fit, else cut as they were put together."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marloft.serving.rows import check_inputs, check_outputs, concatenate, cut


def test_inputs_have_as_many_rows_as_each_array() -> None:
    assert check_inputs({"a": np.zeros(3), "b": np.zeros((3, 2))}) == 3


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, "no arrays"),
        ({"a": np.zeros(0)}, "at least 1"),
        ({"a": np.zeros(2), "b": np.zeros(3)}, "each needs the same"),
        ([np.zeros(2)], "returned list"),
        ({"a": np.float32(1)}, "len"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs: Any, words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        check_inputs(inputs)


@pytest.mark.parametrize(
    ("outputs", "words"),
    [(np.zeros(2), "returned ndarray"), ({"a": np.zeros(3)}, "3 rows of 'a' for 2 inputs")],
)
def test_outputs_that_do_not_fit_are_refused(outputs: Any, words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        check_outputs(outputs, 2)


@given(st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=9), min_size=1, max_size=9))
def test_cut_gives_back_what_was_concatenated(requests: list[list[int]]) -> None:
    parts = [{"a": np.array(rows), "b": np.array(rows)[:, None]} for rows in requests]
    found = cut(concatenate(parts), [len(rows) for rows in requests])
    for rows, own in zip(requests, found, strict=True):
        assert own["a"].tolist() == rows
        assert own["b"].tolist() == [[row] for row in rows]
