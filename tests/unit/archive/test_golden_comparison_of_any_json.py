"""Whatever JSON stands in a golden answer or comes from a handler, a comparison ends in words."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marloft.archive.golden_comparison import difference, expected_fault, response_difference
from marloft.contract.response import (
    ClassificationResponse,
    EmbeddingResponse,
    ObjectResponse,
    RankingResponse,
    RegressionResponse,
    Response,
)

RESPONSES: list[Response | None] = [
    None,
    RankingResponse(),
    ClassificationResponse(labels=["a", "b", 1], top=1),
    ClassificationResponse(labels=["a", "b"], top=2, per="request"),
    ClassificationResponse(labels=["a", "b"]),
    RegressionResponse(interval=0.9),
    EmbeddingResponse(dimension=2),
    ObjectResponse(schema={"type": "object"}),
]
SCALARS = st.sampled_from([None, True, 0, 1, -1, 2**70, 10**400, 0.5, 1e308, -1e308, "", "a", "1"])
VALUES = st.recursive(
    SCALARS,
    lambda each: (
        st.lists(each, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "1"]), each)
    ),
    max_leaves=6,
)
ANSWERS = st.dictionaries(
    st.sampled_from(["prediction", "confidence", "scores", "probabilities", "interval"]), VALUES
)


@given(response=st.sampled_from(RESPONSES), expected=ANSWERS, answer=ANSWERS)
def test_comparison_of_any_json_ends_in_words(
    response: Response | None, expected: dict[str, Any], answer: dict[str, Any]
) -> None:
    mixed = expected | answer
    for own, other in ((expected, answer), (expected, mixed), (answer, mixed)):
        assert isinstance(difference(own, other, 0.1, response), str | None)
    assert isinstance(expected_fault(expected, response), str | None)


@given(response=st.sampled_from(RESPONSES), answer=ANSWERS)
def test_an_answer_is_the_same_as_itself(response: Response | None, answer: dict[str, Any]) -> None:
    copy = msgspec.to_builtins(answer)
    assert difference(answer, copy, 0.1, response) is None


@pytest.mark.parametrize("body", ["", "[]", "nonsense", "[" * 100_000, '{"prediction": \\ud800}'])
def test_body_that_is_no_json_object_is_told(body: str) -> None:
    found = response_difference({"prediction": 1}, 200, body, 0.1)
    assert found is not None
    assert "no JSON object" in found


def test_scores_of_other_entries_are_told() -> None:
    golden = {"prediction": [1, 2], "scores": [0.5]}
    assert expected_fault(golden, RankingResponse()) == "1 scores for a prediction of 2."
    assert difference(golden, golden, 0.1, RankingResponse()) is None
