"""Counts of one answer of each type, by hand."""

from typing import Any

import pytest

from marloft.contract.shown import ShownEntries
from marloft.monitoring.live_answers import (
    ClassifiedAnswer,
    Counts,
    EstimatedAnswer,
    LiveAnswer,
    RankedAnswer,
    positive_bits,
)

PLACE: dict[str, Any] = {"time_s": 0.0, "group": 0}


def counted(answer: LiveAnswer) -> Counts:
    counts = Counts()
    answer.add_to(counts)
    return counts


def test_ranking_is_judged_by_its_clicks() -> None:
    positive = positive_bits([0.2, 0.9, 0.3, 0.8], 3)
    answer = RankedAnswer(**PLACE, shown=ShownEntries(3, ["2", "4", "3"]), positive=positive)
    answer.click(2)
    answer.click("3")
    answer.label(2, 1)
    counts = counted(answer)
    assert (counts.true_positive, counts.false_positive, counts.false_negative) == (1, 1, 1)
    assert (counts.labelled, counts.right, counts.clicked) == (3, 1, 2)


@pytest.mark.parametrize(
    ("predicted", "label", "right"),
    [
        ("good", "good", True),
        ("good", "bad", False),
        (1, 1, True),
        (1, 1.0, True),
        (1, True, False),
        (True, 1, False),
        (1, "1", False),
        (False, False, True),
    ],
)
def test_labels_are_equal_as_json_values_are(predicted: Any, label: Any, right: bool) -> None:
    answer = ClassifiedAnswer(**PLACE, shown=ShownEntries(1), predicted=[predicted])
    answer.label(None, label)
    assert counted(answer).right == right


def test_first_label_of_an_entry_counts_whatever_it_is_called() -> None:
    answer = ClassifiedAnswer(**PLACE, shown=ShownEntries(1), predicted=["a"])
    answer.label(0, "a")
    answer.label(None, "b")
    assert counted(answer).accuracy == 1.0


@pytest.mark.parametrize(
    ("predicted", "label", "cell"),
    [
        (True, True, "true_positive"),
        (True, False, "false_positive"),
        (False, True, "false_negative"),
        (False, False, "true_negative"),
    ],
)
def test_booleans_have_a_confusion_matrix(predicted: bool, label: bool, cell: str) -> None:
    answer = ClassifiedAnswer(**PLACE, shown=ShownEntries(2), predicted=[predicted, True])
    answer.label(0, label)
    counts = counted(answer)
    cells = ("true_positive", "false_positive", "false_negative", "true_negative")
    assert {name for name in cells if getattr(counts, name)} == {cell}


def test_error_is_the_mean_distance_of_what_has_a_number() -> None:
    answer = EstimatedAnswer(**PLACE, shown=ShownEntries(3), predicted=[1.0, 2.0, 3.0])
    for row, label in ((0, 3), (1, True), (2, 2.5)):
        answer.label(row, label)
    counts = counted(answer)
    assert (counts.measured, counts.mean_absolute_error) == (2, 1.25)


def test_vector_and_object_have_clicks_alone() -> None:
    answer = LiveAnswer(**PLACE, shown=ShownEntries(1), converted=True)
    answer.click(None)
    answer.label(None, "x")
    assert counted(answer) == Counts(answers=1, conversions=1, shown=1, clicked=1)
