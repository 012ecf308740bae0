"""Outputs are named by the form of the answer; wrong inputs are told the model's own names."""

from collections import OrderedDict
from typing import Any, NamedTuple

import pytest

from marloft.errors import DataError
from marloft.runtimes.naming import check_names, named_outputs


class Head(NamedTuple):
    mean: Any
    spread: Any


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        (1.5, ["score"]),
        (Head(1.0, 2.0), ["mean", "spread"]),
        ({"a": 1.0, "b": 2.0}, ["a", "b"]),
        (OrderedDict(b=1.0, a=2.0), ["b", "a"]),
        ((1.0, 2.0), ["output_0", "output_1"]),
        ([1.0], ["output_0"]),
        ({"head": Head(1.0, 2.0), "rest": 3.0}, ["head.mean", "head.spread", "rest"]),
        ((1.0, (2.0, 3.0)), ["output_0", "output_1.0", "output_1.1"]),
        (Head((1.0, 2.0), {"a": [3.0]}), ["mean.0", "mean.1", "spread.a.0"]),
    ],
)
def test_outputs_get_their_names_from_the_form_of_the_answer(answer: Any, names: list[str]) -> None:
    found = named_outputs(answer, float)
    assert list(found) == names
    assert all(isinstance(each, float) for each in found.values())


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (3, "the model answers with int; every output has to be a tensor"),
        (None, "the model answers with NoneType"),
        ((1.0, None), "the model answers output_1 NoneType"),
        ({"a": {"b": "text"}}, r"the model answers a\.b str"),
        ({1: 1.0}, "names an output 1; a key has to be text"),
        ({"": 1.0}, "names an output ''; a key"),
        ({"a.b": 1.0, "a": {"b": 2.0}}, r"two outputs named 'a\.b'"),
        ((), r"answers no tensor \(tuple\)"),
    ],
)
def test_answer_that_has_no_names_is_refused(answer: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        named_outputs(answer, float)


TAKES = {"user": "float32[1,2]", "items": "float32[n,3]", "scale": ""}
NEEDS = ("user", "items")


@pytest.mark.parametrize("given", [["items", "user"], ["user", "items", "scale"]])
def test_inputs_that_fit_are_fine_in_any_order(given: list[str]) -> None:
    check_names("model.onnx", given, TAKES, NEEDS)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            ["user", "item"],
            "model.onnx has no input 'item'. Did you mean 'items'? "
            "It takes: user (float32[1,2]), items (float32[n,3]), scale.",
        ),
        (
            ["user"],
            "model.onnx was not given 'items'. "
            "It takes: user (float32[1,2]), items (float32[n,3]), scale; it got: user.",
        ),
        (
            [],
            "model.onnx was not given 'user', 'items'. "
            "It takes: user (float32[1,2]), items (float32[n,3]), scale; it got: nothing.",
        ),
    ],
)
def test_wrong_names_are_answered_with_the_models_own(given: list[str], words: str) -> None:
    with pytest.raises(DataError) as caught:
        check_names("model.onnx", given, TAKES, NEEDS)
    assert str(caught.value) == words
