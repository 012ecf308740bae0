"""AUC and log loss against brute force."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from marloft.errors import DataError
from marloft.ranker.metrics import Quality, accuracy, auc, log_loss, quality


def pair_count_auc(likes: NDArray[np.int64], scores: NDArray[np.floating]) -> float:
    pairs = [
        1.0 if good > bad else 0.5 if good == bad else 0.0
        for good in scores[likes == 1]
        for bad in scores[likes == 0]
    ]
    return sum(pairs) / len(pairs)


@pytest.mark.parametrize("decimals", [8, 1], ids=["distinct", "many ties"])
def test_auc_equals_the_share_of_pairs_in_order(decimals: int) -> None:
    rng = np.random.default_rng(3)
    likes = rng.integers(0, 2, 200)
    scores = np.round(rng.random(200) + 0.3 * likes, decimals)
    assert auc(likes, scores) == pytest.approx(pair_count_auc(likes, scores), abs=1e-12)


def test_auc_without_likes_is_refused() -> None:
    with pytest.raises(DataError, match="AUC of 0 likes and 3 others is undefined"):
        auc(np.zeros(3, dtype=np.int64), np.ones(3))


def test_log_loss_equals_its_definition() -> None:
    likes, scores = np.array([1, 0, 1]), np.array([0.9, 0.2, 0.5])
    expected = -(math.log(0.9) + math.log(0.8) + math.log(0.5)) / 3
    assert log_loss(likes, scores) == pytest.approx(expected, abs=1e-12)


def test_log_loss_of_a_sure_mistake_is_finite() -> None:
    assert log_loss(np.array([1]), np.array([0.0])) == pytest.approx(-math.log(1e-7))


def test_accuracy_counts_scores_on_the_right_side_of_a_half() -> None:
    likes, scores = np.array([1, 1, 1, 0, 0]), np.array([0.9, 0.5, 0.49, 0.49, 0.5])
    assert accuracy(likes, scores) == pytest.approx(3 / 5)


def test_quality_is_the_three_figures() -> None:
    likes, scores = np.array([1, 0, 1]), np.array([0.9, 0.2, 0.5])
    assert quality(likes, scores) == Quality(
        auc=auc(likes, scores), accuracy=1.0, log_loss=log_loss(likes, scores)
    )
