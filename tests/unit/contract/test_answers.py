"""The values that handlers return."""

import numpy as np

from marloft.contract.answers import Prediction, rank


def test_rank_keeps_the_requests_order_for_equal_scores() -> None:
    ranked = rank(["a", "b", "c", "d"], np.array([0.5, 0.9, 0.5, 0.9], np.float32))
    assert ranked == Prediction(
        prediction=["b", "d", "a", "c"], confidence=0.9, scores=[0.5, 0.9, 0.5, 0.9]
    )
