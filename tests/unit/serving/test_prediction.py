"""What encode returns: refused when it would not be JSON, before it reaches log or answer."""

import math
from typing import Any

import msgspec
import numpy as np
import pytest

from marloft.serving import Prediction, rank
from marloft.serving.prediction import encode_prediction

GOOD = Prediction(prediction=[1, 2], confidence=0.9, scores=[0.9, 0.1], extra={"n": 1})


def test_rank_keeps_the_requests_order_for_equal_scores() -> None:
    ranked = rank(["a", "b", "c", "d"], np.array([0.5, 0.9, 0.5, 0.9], np.float32))
    assert ranked == Prediction(
        prediction=["b", "d", "a", "c"], confidence=0.9, scores=[0.5, 0.9, 0.5, 0.9]
    )


@pytest.mark.parametrize("value", [[1, 2], "null", None, {"label": "null", "p": [0.5, None]}, 7.5])
def test_any_json_value_is_encoded_as_it_is(value: Any) -> None:
    answer = encode_prediction(msgspec.structs.replace(GOOD, prediction=value))
    assert msgspec.json.decode(answer.prediction) == value
    assert (answer.confidence, answer.extra) == (0.9, {"n": 1})
    assert msgspec.json.decode(answer.scores) == [0.9, 0.1]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, None])
@pytest.mark.parametrize("field", ["confidence", "scores"])
def test_number_that_json_does_not_have_is_refused(field: str, number: Any) -> None:
    value = [0.5, number] if field == "scores" else number
    with pytest.raises(ValueError, match=field):
        encode_prediction(msgspec.structs.replace(GOOD, **{field: value}))


@pytest.mark.parametrize("value", [math.nan, [1, [math.inf]], {"a": {"b": math.nan}}, (math.nan,)])
def test_nan_anywhere_in_the_prediction_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="NaN or infinity"):
        encode_prediction(msgspec.structs.replace(GOOD, prediction=value))


@pytest.mark.parametrize(
    "changes",
    [
        {"prediction": object()},
        {"prediction": np.arange(2)},
        {"confidence": np.float32(0.5)},
        {"scores": [np.float32(0.5)]},
        {"extra": {"seen": object()}},
    ],
)
def test_value_that_is_not_json_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        encode_prediction(msgspec.structs.replace(GOOD, **changes))


def test_something_else_than_a_prediction_is_refused() -> None:
    with pytest.raises(TypeError, match="returned dict, not a Prediction"):
        encode_prediction({"prediction": 1})
