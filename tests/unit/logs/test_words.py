"""What people are told of an answer is what its declared type has."""

from typing import Any

import pytest

from marloft.logs.words import answer_in_words
from tests.unit.logs import typed


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ranking", "ranking of 3, first 2 (0.9)"),
        ("grades", "classification of 4: good (0.9), bad (0.8), good (0.6), …"),
        ("one-grade", "classification: good (0.7)"),
        ("yes-no", "classification of 2: true (0.9), false (0.8)"),
        ("numbers", "regression of 2: 2 (1 to 3), 5 (4 to 6)"),
        ("one-number", "regression: 2.5 (1 to 3)"),
        ("vector", "embedding"),
        ("vectors", "embedding of 2"),
        ("object", "object"),
        ("objects", "object of 2"),
        ("undeclared", None),
        ("undeclared-one", None),
    ],
)
def test_answer_is_told_by_its_type(name: str, words: str | None) -> None:
    assert answer_in_words(typed.record(name)) == words


def test_number_without_an_interval_is_told_alone() -> None:
    record = typed.record("numbers")
    del record["interval"]
    assert answer_in_words(record) == "regression of 2: 2, 5"


def test_refused_request_has_no_answer() -> None:
    record = typed.record("numbers", prediction=None, status=422)
    del record["entries"]
    assert answer_in_words(record) is None


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("grades", {"confidence": [0.9]}, "classification of 4: good, bad, good, …"),
        ("numbers", {"interval": "none"}, "regression of 2: 2, 5"),
        ("numbers", {"prediction": []}, "regression of 2: "),
        ("ranking", {"prediction": []}, "ranking of 3"),
        ("ranking", {"prediction": 5}, "ranking of 3"),
    ],
)
def test_record_that_contradicts_itself_is_told_as_far_as_it_goes(
    name: str, changes: dict[str, Any], words: str
) -> None:
    assert answer_in_words(typed.record(name, **changes)) == words
