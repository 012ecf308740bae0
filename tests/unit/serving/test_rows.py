"""Arrays of a batch: refused when their rows do not fit, else cut as they were put together."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marloft.errors import ConfigError
from marloft.serving.rows import batching, check_inputs, check_outputs, concatenate, cut


def test_inputs_have_as_many_rows_as_each_array() -> None:
    assert check_inputs({"a": np.zeros(3), "b": np.zeros((3, 2))}) == 3


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({}, "no arrays"),
        ({"a": np.zeros(0)}, "at least 1"),
        ({"a": np.zeros(2), "b": np.zeros(3)}, "each needs the same"),
        ([np.zeros(2)], "returned list"),
        ({"a": np.float32(1)}, "returned 'a' without rows"),
        ({"a": np.zeros(2), "b": np.zeros(3)}, '`batch_by = "requests"` in the handler\'s class'),
        ({"a": np.float32(1)}, '`batch_by = "requests"` in the handler\'s class'),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs: Any, words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        check_inputs(inputs)


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        (np.zeros(2), "returned ndarray"),
        ({"a": np.zeros(3)}, "3 rows of 'a' for 2 inputs; .*`batch_by = \"requests\"`"),
        ({"a": np.float32(1)}, "returned 'a' without rows .*`batch_by = \"requests\"`"),
    ],
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


def test_by_rows_all_requests_share_a_run_and_get_their_own_rows() -> None:
    kind = batching("rows")
    assert kind.runs([1, 2, 3]) == [[1, 2, 3]]
    assert kind.runs([]) == []
    assert kind.check({"a": np.zeros(3)}) == 3
    first, second = kind.split({"a": np.arange(5)}, [3, 2])
    assert (first["a"].tolist(), second["a"].tolist()) == ([0, 1, 2], [3, 4])
    with pytest.raises(ValueError, match="5 rows of 'a' for 4 inputs"):
        kind.split({"a": np.arange(5)}, [2, 2])


def test_by_requests_each_has_a_run_and_all_of_its_outputs() -> None:
    kind = batching("requests")
    assert kind.runs([1, 2, 3]) == [[1], [2], [3]]
    assert kind.runs([]) == []
    outputs: Any = {"score": np.arange(5), "mean": np.float32(2), "table": np.zeros((2, 3))}
    assert kind.check({"user": np.zeros((1, 16)), "items": np.zeros((5, 16))}) == 1
    assert kind.check({"k": np.array(3), "none": np.zeros((0, 4))}) == 1
    (own,) = kind.split(outputs, [1])
    assert own is outputs


@pytest.mark.parametrize(
    ("arrays", "words"), [([np.zeros(2)], "returned list"), ({}, "decode returned no arrays")]
)
def test_by_requests_arrays_still_have_names(arrays: Any, words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        batching("requests").check(arrays)
    if arrays:
        with pytest.raises(TypeError, match="predict returned list"):
            batching("requests").split(arrays, [1])


def test_other_word_is_refused_with_the_line_to_write() -> None:
    word: Any = "request"
    with pytest.raises(ConfigError, match=r"batch_by is 'request'; .*write `batch_by = "):
        batching(word)
