"""What encode returns: refused when it would not be JSON, before it reaches log or answer."""

import math
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import pytest

from marloft.contract.answers import (
    AnyAnswer,
    Classification,
    Embedding,
    Objects,
    Prediction,
    Ranking,
    Regression,
)
from marloft.contract.encode_answer import encode_answer
from marloft.contract.response import (
    ClassificationResponse,
    EmbeddingResponse,
    ObjectResponse,
    RankingResponse,
    RegressionResponse,
    Response,
)

GOOD = Prediction(prediction=[1, 2], confidence=0.9, scores=[0.9, 0.1], extra={"n": 1})


@pytest.mark.parametrize("value", [[1, 2], "null", None, {"label": "null", "p": [0.5, None]}, 7.5])
def test_any_json_value_is_encoded_as_it_is(value: Any) -> None:
    answer = encode_answer(msgspec.structs.replace(GOOD, prediction=value), None, 2)
    assert msgspec.json.decode(answer.prediction) == value
    assert (bytes(answer.confidence), answer.extra) == (b"0.9", {"n": 1})
    assert msgspec.json.decode(answer.scores) == [0.9, 0.1]


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, None])
@pytest.mark.parametrize("field", ["confidence", "scores"])
def test_number_that_json_does_not_have_is_refused(field: str, number: Any) -> None:
    value = [0.5, number] if field == "scores" else number
    with pytest.raises(ValueError, match=field):
        encode_answer(msgspec.structs.replace(GOOD, **{field: value}), None, 2)


@pytest.mark.parametrize("value", [math.nan, [1, [math.inf]], {"a": {"b": math.nan}}, (math.nan,)])
def test_nan_anywhere_in_the_prediction_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="NaN or infinity"):
        encode_answer(msgspec.structs.replace(GOOD, prediction=value), None, 2)


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
        encode_answer(msgspec.structs.replace(GOOD, **changes), None, 2)


def test_something_else_than_a_prediction_is_refused() -> None:
    with pytest.raises(TypeError, match="returned dict, not a Prediction"):
        encode_answer({"prediction": 1}, None, 1)


YES_NO = ClassificationResponse(labels=["no", "yes"])
SIZE = ObjectResponse(schema={"type": "object", "required": ["size"]})


def _parts(answer: AnyAnswer, response: Response | None, rows: int) -> dict[str, Any]:
    parts = encode_answer(answer, response, rows).parts()
    return {name: msgspec.json.decode(part) for name, part in parts.items()}


@pytest.mark.parametrize(
    ("response", "answer", "rows", "expected"),
    [
        (
            RankingResponse(),
            Ranking(["a", "b"], np.array([0.25, 0.5], np.float32)),
            2,
            {"prediction": ["b", "a"], "confidence": 0.5, "scores": [0.25, 0.5]},
        ),
        (
            YES_NO,
            Classification([[0.25, 0.75], [0.9, 0.1]]),
            2,
            {
                "prediction": ["yes", "no"],
                "confidence": [0.75, 0.9],
                "probabilities": [{"no": 0.25, "yes": 0.75}, {"no": 0.9, "yes": 0.1}],
            },
        ),
        (
            ClassificationResponse(labels=[False, True], per="request", top=0),
            Classification([[0.4, 0.6]], labels=[False]),
            3,
            {"prediction": False, "confidence": 0.4},
        ),
        (
            ClassificationResponse(labels=[3, 5, 7], top=2),
            Classification([[0.1, 0.3, 0.6]]),
            1,
            {
                "prediction": [7],
                "confidence": [0.6],
                "probabilities": [{"7": 0.6, "5": 0.3}],
            },
        ),
        (RegressionResponse(), Regression([1.5, 2]), 2, {"prediction": [1.5, 2.0]}),
        (
            RegressionResponse(interval=0.8, per="request"),
            Regression([1.5], [[1, 2]]),
            4,
            {"prediction": 1.5, "interval": [1, 2]},
        ),
        (
            EmbeddingResponse(dimension=2),
            Embedding(np.array([[0.1, -0.25]], np.float32)),
            1,
            {"prediction": [[0.100000001, -0.25]]},
        ),
        (SIZE, Objects([{"size": None}]), 1, {"prediction": [{"size": None}]}),
    ],
)
def test_answer_has_the_parts_of_its_type(
    response: Response, answer: AnyAnswer, rows: int, expected: dict[str, Any]
) -> None:
    assert _parts(answer, response, rows) == expected


def test_archive_without_a_declaration_may_rank() -> None:
    assert _parts(Ranking([1], [0.5]), None, 1)["prediction"] == [1]


def test_numbers_of_float32_keep_all_their_bits() -> None:
    rng = np.random.default_rng(0)
    exponents = rng.integers(-37, 38, 2000).astype(np.float64)
    vectors = (rng.uniform(-1, 1, 2000) * 10.0**exponents).astype(np.float32)[None]
    (found,) = _parts(Embedding(vectors), EmbeddingResponse(dimension=2000), 1)["prediction"]
    assert (np.array(found).astype(np.float32) == vectors[0]).all()


@pytest.mark.parametrize(
    ("response", "answer", "message"),
    [
        (RankingResponse(), Regression([1, 2]), "return a Ranking"),
        (RankingResponse(), GOOD, "return a Ranking"),
        (None, Regression([1, 2]), "response: {type"),
        (RankingResponse(), Ranking([1], [0.5, 0.1]), "shape"),
        (RankingResponse(), Ranking([], []), "at least one"),
        (RankingResponse(), Ranking([1, 2], [0.5, math.nan]), "NaN"),
        (YES_NO, Classification([[0.5, 0.5]]), "shape"),
        (YES_NO, Classification([[3.0, -1.0]] * 2), "softmax"),
        (YES_NO, Classification([[0.5, 0.5]] * 2, ["no", "maybe"]), "label 'maybe'"),
        (YES_NO, Classification([[0.5, 0.5]] * 2, ["no"]), "1 labels for 2"),
        (YES_NO, Classification([["a", "b"]] * 2), "allowed: numbers"),
        (RegressionResponse(), Regression([1.0]), "shape"),
        (RegressionResponse(), Regression([1.0, 2.0], [[0, 1], [1, 2]]), "declares none"),
        (RegressionResponse(interval=0.5), Regression([1.0, 2.0]), "no intervals"),
        (RegressionResponse(interval=0.5), Regression([1.0, 2.0], [[1, 0], [1, 2]]), "low end"),
        (EmbeddingResponse(dimension=3), Embedding([[1.0, 2.0]] * 2), "shape"),
        (EmbeddingResponse(dimension=1), Embedding([[math.inf], [1.0]]), "infinity"),
        (SIZE, Objects([{"size": 1}]), "1 values; needed: 2"),
        (SIZE, Objects([{"size": 1}, {}]), "value 1 against the declared schema"),
        (SIZE, Objects([{"size": math.nan}] * 2), "NaN"),
        (SIZE, Objects([{"size": object()}] * 2), "unsupported"),
        (RankingResponse(), Ranking([1, 2], [1, 2], extra={"a": object()}), "unsupported"),
    ],
)
def test_value_that_the_declaration_does_not_allow_is_refused(
    response: Response | None, answer: AnyAnswer, message: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        encode_answer(answer, response, 2)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.float32])
def test_ranking_of_small_integers_is_by_their_value(dtype: Any) -> None:
    scores = np.array([0, 127, 3], dtype=dtype)
    answer = encode_answer(Ranking([1, 2, 3], scores), RankingResponse(), 3)
    assert bytes(answer.prediction) == b"[2,3,1]"
    assert bytes(answer.confidence) == b"127.0"


def test_ranking_of_the_least_integer_puts_it_last() -> None:
    scores = np.array([-128, 127], dtype=np.int8)
    assert bytes(encode_answer(Ranking([1, 2], scores), None, 2).prediction) == b"[2,1]"


@pytest.mark.parametrize("id_", [None, 1.5, True, {"a": 1}, b"a"])
def test_ids_of_a_declared_ranking_are_as_its_schema_says(id_: Any) -> None:
    with pytest.raises(TypeError, match="allowed: integers and strings"):
        encode_answer(Ranking([id_], [0.5]), RankingResponse(), 1)


def test_one_object_for_a_request_is_in_a_list() -> None:
    declared = ObjectResponse(schema={}, per="request")
    assert bytes(encode_answer(Objects([{"a": 1}]), declared, 2).prediction) == b'{"a":1}'
    with pytest.raises(TypeError, match="values as dict; allowed: a list"):
        encode_answer(Objects({"a": 1}), declared, 2)  # type: ignore[arg-type]


def test_objects_are_checked_as_a_client_reads_them() -> None:
    declared = ObjectResponse(schema={"type": "array", "items": {"type": "string"}})
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    answer = encode_answer(Objects([("a", moment)]), declared, 1)
    assert bytes(answer.prediction) == b'[["a","2026-01-02T00:00:00Z"]]'
    with pytest.raises(ValueError, match="is not of type 'array'"):
        encode_answer(Objects(["a"]), declared, 1)
