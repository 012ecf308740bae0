"""The random and the chronological split."""

import numpy as np
import polars as pl

from marloft.ranker.movielens import RawData
from marloft.ranker.splits import chronological_parts, random_parts


def counts(parts: np.ndarray) -> dict[str, int]:
    return {part: int((parts == part).sum()) for part in ("train", "valid", "test")}


def test_random_parts_are_80_10_10() -> None:
    assert counts(random_parts(1_000, 2020)) == {"train": 800, "valid": 100, "test": 100}


def test_random_parts_depend_on_the_seed_alone() -> None:
    assert (random_parts(1_000, 2020) == random_parts(1_000, 2020)).all()
    assert not (random_parts(1_000, 2020) == random_parts(1_000, 1)).all()


def test_chronological_parts_never_train_on_the_future(small_data: RawData) -> None:
    parts, times = chronological_parts(small_data.ratings), small_data.ratings["timestamp"]
    train, valid, test = (times.filter(pl.Series(parts == p)) for p in ("train", "valid", "test"))
    assert counts(parts) == {"train": 1_600, "valid": 200, "test": 200}
    assert train.to_numpy().max() <= valid.to_numpy().min()
    assert valid.to_numpy().max() <= test.to_numpy().min()


def test_chronological_parts_do_not_depend_on_the_row_order(small_data: RawData) -> None:
    ratings = small_data.ratings.with_columns(timestamp=pl.col("timestamp") // 100_000)
    order = np.random.default_rng(0).permutation(len(ratings))
    shuffled = chronological_parts(ratings[order])
    assert (shuffled == chronological_parts(ratings)[order]).all()
