"""Which entry an outcome means: by id in a ranking, by its row's number elsewhere."""

from typing import Any

import pytest

from marloft.contract.shown import ShownEntries, is_ranked, shown_of


@pytest.mark.parametrize("response", [None, "ranking"])
def test_ranking_shows_its_first_ids_and_is_asked_by_id(response: str | None) -> None:
    shown = shown_of([7, "x", 9, 5], response, 4, top=3)
    assert shown == ShownEntries(3, ["7", "x", "9"])
    asked: list[Any] = [7, "7", "x", 9, 5, 0, None]
    assert [shown.place_of(item) for item in asked] == [0, 0, 1, 2, None, None, None]


def test_undeclared_answer_that_is_no_list_is_one_item() -> None:
    shown = shown_of("cat", None, None, top=3)
    assert (shown.count, shown.place_of("cat"), shown.place_of(0)) == (1, 0, None)


def test_id_that_reads_none_is_not_the_whole_answer() -> None:
    shown = shown_of(["None"], "ranking", 1)
    assert (shown.place_of("None"), shown.place_of(None)) == (0, None)


@pytest.mark.parametrize("response", ["classification", "regression", "embedding", "object"])
def test_other_answers_show_every_entry_and_are_asked_by_row(response: str) -> None:
    shown = shown_of([9, 8, 7, 6, 5], response, 5, top=3)
    assert shown == ShownEntries(5)
    asked: list[Any] = [0, 4, "4", 5, -1, "04", "1.0", "²", "9", None]
    assert [shown.place_of(item) for item in asked] == [0, 4, 4, *[None] * 7]


def test_whole_answer_is_its_only_entry() -> None:
    vector = shown_of([0.5] * 64, "embedding", 1, top=3)
    assert (vector.count, vector.place_of(None), vector.place_of(0)) == (1, 0, 0)
    assert vector.place_of(1) is None


def test_only_rankings_and_undeclared_answers_are_ranked() -> None:
    assert [is_ranked(each) for each in (None, "ranking", "object")] == [True, True, False]
