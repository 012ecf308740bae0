"""Early stopping on planted curves."""

import pytest

from marloft.training.config import EarlyStopping
from marloft.training.stop import Plateau, is_over, observe


def epochs_taken(curve: list[float], rule: EarlyStopping | None) -> int:
    plateau = Plateau()
    for epoch, value in enumerate(curve, start=1):
        plateau = observe(plateau, value, rule)
        if is_over(plateau, rule):
            return epoch
    return len(curve)


@pytest.mark.parametrize(
    ("curve", "patience", "min_delta", "taken"),
    [
        ([0.6, 0.7, 0.7, 0.7, 0.7], 2, 0.0, 4),
        ([0.6, 0.7, 0.69, 0.71, 0.7, 0.7], 2, 0.0, 6),
        ([0.6, 0.7, 0.8, 0.9], 1, 0.0, 4),
        ([0.6, 0.601, 0.602, 0.603], 2, 0.01, 3),
        # Small gains count once they add up to min_delta over the last progress.
        ([0.6, 0.606, 0.612, 0.618], 2, 0.01, 4),
    ],
)
def test_a_run_ends_when_patience_is_used_up(
    curve: list[float], patience: int, min_delta: float, taken: int
) -> None:
    rule = EarlyStopping(patience=patience, min_delta=min_delta)
    assert epochs_taken(curve, rule) == taken


def test_without_a_rule_a_plateau_never_ends_a_run() -> None:
    assert epochs_taken([0.7] * 50, None) == 50
