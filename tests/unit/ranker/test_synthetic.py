"""The generated data set holds the effects that its spec plants."""

import numpy as np
import polars as pl
import pytest

from marloft.ranker.metrics import auc
from marloft.ranker.movielens import LIKE_FROM, RawData
from marloft.ranker.synthetic import SyntheticSpec, generate


def test_generate_gives_the_same_rows_for_the_same_spec(small_data: RawData) -> None:
    again = generate(SyntheticSpec(users=60, items=50, ratings=2_000))
    assert again.ratings.equals(small_data.ratings)
    assert again.users.equals(small_data.users)
    assert again.items.equals(small_data.items)


def test_generate_rates_each_pair_at_most_once(small_data: RawData) -> None:
    assert small_data.ratings.select("user_id", "item_id").is_duplicated().sum() == 0


def test_generate_plants_item_quality() -> None:
    assert mean_rating_auc(generate(SyntheticSpec())) > 0.65


def test_generate_without_effects_plants_nothing() -> None:
    flat = SyntheticSpec(user_sd=0, item_sd=0, year_slope=0, taste_sd=0)
    assert mean_rating_auc(generate(flat)) == pytest.approx(0.5, abs=0.02)


def mean_rating_auc(data: RawData) -> float:
    """AUC on odd rows of each item's mean rating over the even rows."""
    even, odd = data.ratings.gather_every(2), data.ratings.gather_every(2, offset=1)
    means = even.group_by("item_id").agg(pl.col("rating").mean().alias("mean"))
    joined = odd.join(means, on="item_id")
    return auc(
        (joined["rating"].to_numpy() >= LIKE_FROM).astype(np.int64), joined["mean"].to_numpy()
    )
