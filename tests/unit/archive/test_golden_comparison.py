"""Golden answers are compared by the declared type: what is beyond the tolerance is found."""

import copy
import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marloft.archive.golden_comparison import check_expected, difference, response_difference
from marloft.contract.answers import (
    AnyAnswer,
    Classification,
    Embedding,
    Objects,
    Ranking,
    Regression,
)
from marloft.contract.encode_answer import encode_answer
from marloft.contract.manifest import GoldenAnswer
from marloft.contract.response import (
    ClassificationResponse,
    EmbeddingResponse,
    Label,
    ObjectResponse,
    RankingResponse,
    RegressionResponse,
    Response,
)
from marloft.errors import ConfigError

TOLERANCE = 0.01
NAMES: list[Label] = ["no", "yes", "perhaps"]
ITEM = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "places": {"type": "array"},
        "n": {"type": "number"},
    },
}
TYPES: list[Response] = [
    RankingResponse(),
    ClassificationResponse(labels=NAMES),
    ClassificationResponse(labels=NAMES, top=2),
    ClassificationResponse(labels=NAMES, per="request"),
    RegressionResponse(),
    RegressionResponse(interval=0.9),
    EmbeddingResponse(dimension=3),
    ObjectResponse(schema=ITEM),
    ObjectResponse(schema=ITEM, per="request"),
]
Json = dict[str, Any]


def _answer(response: Response, rng: np.random.Generator, rows: int) -> AnyAnswer:
    entries = rows if response.per == "row" else 1
    if isinstance(response, RankingResponse):
        return Ranking([f"item-{i}" for i in range(rows)], rng.random(rows))
    if isinstance(response, ClassificationResponse):
        return Classification(rng.dirichlet(np.ones(len(NAMES)), entries))
    if isinstance(response, RegressionResponse):
        values = rng.normal(0, 50, entries)
        bounds = np.stack([values - 1, values + 1], axis=1)
        return Regression(values, None if response.interval is None else bounds)
    if isinstance(response, EmbeddingResponse):
        return Embedding(rng.normal(size=(entries, response.dimension)))
    return Objects(
        [
            {"name": "a", "places": [{"at": [float(x), True]} for x in rng.random(2)], "n": 3}
            for _ in range(entries)
        ]
    )


def _encoded(response: Response, answer: AnyAnswer, rows: int) -> Json:
    parts = encode_answer(answer, response, rows).parts()
    return {name: msgspec.json.decode(part) for name, part in parts.items()}


def _leaves(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [leaf for key, part in value.items() for leaf in _leaves(part, (*at, key))]
    if isinstance(value, list):
        return [leaf for key, part in enumerate(value) for leaf in _leaves(part, (*at, key))]
    return [at]


def _changed(answer: Json, at: tuple[Any, ...], change: Callable[[Any], Any]) -> Json:
    changed: Any = copy.deepcopy(answer)
    node = changed
    for key in at[:-1]:
        node = node[key]
    node[at[-1]] = change(node[at[-1]])
    return dict(changed)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


cases = st.tuples(st.sampled_from(TYPES), st.integers(0, 2**32 - 1), st.integers(1, 5))


@given(case=cases, data=st.data())
def test_any_change_beyond_the_tolerance_is_found(
    case: tuple[Response, int, int], data: st.DataObject
) -> None:
    response, seed, rows = case
    golden = _encoded(response, _answer(response, np.random.default_rng(seed), rows), rows)
    at = data.draw(st.sampled_from(_leaves(golden)))
    step = data.draw(st.sampled_from([-1, 1])) * data.draw(st.floats(1.01, 1e6)) * TOLERANCE

    def change(value: Any) -> Any:
        if _is_number(value):
            return value + step
        return (not value) if isinstance(value, bool) else f"{value}?"

    assert difference(golden, golden, TOLERANCE, response) is None
    tampered = _changed(golden, at, change)
    assert difference(golden, tampered, TOLERANCE, response) is not None


@given(case=cases, data=st.data())
def test_a_part_that_is_missing_more_or_of_another_kind_is_found(
    case: tuple[Response, int, int], data: st.DataObject
) -> None:
    response, seed, rows = case
    golden = _encoded(response, _answer(response, np.random.default_rng(seed), rows), rows)
    field = data.draw(st.sampled_from(sorted(golden)))
    at = data.draw(st.sampled_from(_leaves(golden)))
    without = {name: value for name, value in golden.items() if name != field}
    assert difference(golden, without, TOLERANCE, response) == f"{field} is missing"
    for change in (lambda _: None, lambda value: [value], lambda value: {"value": value}):
        assert difference(golden, _changed(golden, at, change), TOLERANCE, response) is not None
    for path in {leaf[:-1] for leaf in _leaves(golden) if isinstance(leaf[-1], int)}:
        longer = _changed(golden, path, lambda entries: [*entries, entries[-1]])
        shorter = _changed(golden, path, lambda entries: entries[:-1])
        assert difference(golden, longer, TOLERANCE, response) is not None
        assert difference(golden, shorter, TOLERANCE, response) is not None


@given(case=cases, data=st.data())
def test_nothing_within_the_tolerance_is_found(
    case: tuple[Response, int, int], data: st.DataObject
) -> None:
    response, seed, rows = case
    answer = _answer(response, np.random.default_rng(seed), rows)
    moved = _moved(answer, np.random.default_rng(data.draw(st.integers(0, 2**32 - 1))))
    golden = _encoded(response, answer, rows)
    other = _encoded(response, moved, rows)
    if isinstance(response, ClassificationResponse) and golden["prediction"] != other["prediction"]:
        # A label is exact, however close the probabilities are.
        assert difference(golden, other, TOLERANCE, response) is not None
        return
    assert difference(golden, other, TOLERANCE, response) is None


def _moved(answer: Any, rng: np.random.Generator) -> AnyAnswer:
    """Return the answer with each number moved by less than the tolerance."""

    def move(values: Any) -> Any:
        return values + rng.uniform(-0.99, 0.99, values.shape) * TOLERANCE

    if isinstance(answer, Ranking):
        return Ranking(answer.ids, move(answer.scores))
    if isinstance(answer, Classification):
        return Classification(np.clip(move(answer.probabilities), 0, 1))
    if isinstance(answer, Regression):
        bounds = answer.intervals
        return Regression(move(answer.values), None if bounds is None else move(bounds))
    if isinstance(answer, Embedding):
        return Embedding(move(answer.vectors))

    def moved(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: moved(part) for key, part in value.items()}
        if isinstance(value, list):
            return [moved(part) for part in value]
        return float(move(np.array(value))) if _is_number(value) else value

    return Objects([moved(value) for value in answer.values])


@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_ranks_beyond_the_tolerance_are_found(seed: int, rows: int) -> None:
    response = RankingResponse()
    golden = _encoded(response, _answer(response, np.random.default_rng(seed), rows), rows)
    scores = sorted(golden["scores"], reverse=True)
    for place in range(rows - 1):
        swapped = copy.deepcopy(golden)
        ids = swapped["prediction"]
        ids[place], ids[place + 1] = ids[place + 1], ids[place]
        found = difference(golden, swapped, TOLERANCE, response) is not None
        assert found == (scores[place] - scores[place + 1] > 2 * TOLERANCE)


def test_candidate_that_is_listed_twice_has_both_its_scores() -> None:
    response = RankingResponse()
    golden = {"prediction": [7, 8, 7], "scores": [0.9, 0.1, 0.5]}
    assert difference(golden, golden, TOLERANCE, response) is None
    moved = {**golden, "prediction": [7, 7, 8]}
    assert "place 1" in str(difference(golden, moved, TOLERANCE, response))


def test_label_is_exact_in_its_kind_too() -> None:
    response = ClassificationResponse(labels=[0, 1])
    golden = {"prediction": [1]}
    for other in (True, 1.0, "1", 0):
        assert difference(golden, {"prediction": [other]}, 2.0, response) is not None


def test_labels_at_the_limit_of_the_likeliest_may_swap() -> None:
    response = ClassificationResponse(labels=NAMES, top=2)
    golden = {"probabilities": [{"yes": 0.6, "no": 0.205}]}
    near = {"probabilities": [{"yes": 0.6, "perhaps": 0.2}]}
    far = {"probabilities": [{"yes": 0.6, "perhaps": 0.18}]}
    assert difference(golden, near, TOLERANCE, response) is None
    assert "perhaps" in str(difference(golden, far, TOLERANCE, response))


@pytest.mark.parametrize(
    ("response", "expected", "message"),
    [
        (RankingResponse(), {"predictions": [1]}, "unknown field 'predictions' of a ranking"),
        (RegressionResponse(), {"confidence": 0.5}, "unknown field 'confidence' of a regression"),
        (RegressionResponse(), {"prediction": "3"}, "not of type 'array'"),
        (RegressionResponse(per="request"), {"prediction": [3]}, "not of type 'number'"),
        (ClassificationResponse(labels=[1, 2]), {"prediction": [3]}, "not one of"),
        (EmbeddingResponse(dimension=2), {"prediction": [[1, 2, 3]]}, "too long"),
        (ObjectResponse(schema=ITEM), {"prediction": [{"name": 3}]}, "not of type 'string'"),
        (RegressionResponse(), {}, "is empty"),
        (None, {"probabilities": []}, "unknown field 'probabilities'"),
    ],
)
def test_golden_answer_that_the_type_cannot_give_is_refused(
    response: Response | None, expected: Json, message: str
) -> None:
    answers = [GoldenAnswer(request={}, expected=expected)]
    with pytest.raises(ConfigError, match=rf"golden.jsonl:1: .*{message}"):
        check_expected(answers, response)


def test_response_that_is_no_good_answer_is_told() -> None:
    assert response_difference({}, 422, "no", 0.1) == "status 422: no"
    assert "no JSON object" in str(response_difference({}, 200, "[", 0.1))
    assert response_difference({"prediction": 1}, 200, '{"prediction": 1}', 0.1) is None


# Archives that declare no response.

EXPECTED = {"scores": [0.2, 0.9, 0.89999], "prediction": [12, 13, 11]}


def test_answer_within_tolerance_is_the_same() -> None:
    answer = {"scores": [0.20005, 0.9, 0.89999], "prediction": [12, 13, 11], "confidence": 1}
    assert difference(EXPECTED, answer, 1e-4) is None


def test_entries_with_near_equal_scores_may_swap() -> None:
    answer = {"scores": EXPECTED["scores"], "prediction": [13, 12, 11]}
    assert difference(EXPECTED, answer, 1e-4) is None
    assert "prediction" in str(difference(EXPECTED, answer, 1e-6))


@pytest.mark.parametrize(
    "answer",
    [
        {"scores": [0.2, 0.9]},
        {"scores": [0.2003, 0.9, 0.89999], "prediction": [12, 13, 11]},
        {"scores": [math.nan, 0.9, 0.89999], "prediction": [12, 13, 11]},
        {"scores": EXPECTED["scores"], "prediction": [11, 12, 13]},
        {"scores": EXPECTED["scores"], "prediction": [12, 13, 14]},
        {"scores": EXPECTED["scores"]},
    ],
)
def test_different_answer_is_told(answer: dict[str, Any]) -> None:
    assert difference(EXPECTED, answer, 1e-4) is not None


LABELS = {"scores": [0.9, 0.2, 0.8], "prediction": [True, False, True]}


def test_labels_of_rows_are_no_ranking() -> None:
    assert difference(LABELS, {**LABELS, "confidence": 0.9}, 1e-4) is None
    swapped = {**LABELS, "prediction": [True, True, False]}
    assert difference(LABELS, swapped, 1e-4) == "prediction: entry 1: True, golden False"


def test_numbers_in_objects_have_the_tolerance_too() -> None:
    golden = {"prediction": [{"p": {"yes": 0.5}}], "scores": [[0.5, 0.5]]}
    near = {"prediction": [{"p": {"yes": 0.50005}}], "scores": [[0.50005, 0.5]]}
    far = {"prediction": [{"p": {"yes": 0.51}}], "scores": [[0.5, 0.5]]}
    assert difference(golden, near, 1e-4) is None
    assert "'yes'" in str(difference(golden, far, 1e-4))
