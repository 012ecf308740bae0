"""Which rating is for training, which for validation and which for the final figure."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

PARTS = ("train", "valid", "test")
SHARES = (0.8, 0.1)
SPLITS = ("random", "chronological")


def random_parts(rows: int, seed: int) -> NDArray[np.str_]:
    """Return a part name per row, str[rows]: 80/10/10 by a seeded permutation."""
    return _cut(np.random.default_rng(seed).permutation(rows))


def chronological_parts(ratings: pl.DataFrame) -> NDArray[np.str_]:
    """Return a part name per row, str[rows]: the earliest 80 %, the next 10 %, the last 10 %.

    Ratings of one second are ordered by user and item, so that the split does not depend on the
    order of the rows.
    """
    columns = [ratings[name].to_numpy() for name in ("item_id", "user_id", "timestamp")]
    return _cut(np.lexsort(columns))


def _cut(order: NDArray[np.int64]) -> NDArray[np.str_]:
    """Name the parts of rows given in the order in which they are assigned."""
    first = int(SHARES[0] * len(order))
    second = first + int(SHARES[1] * len(order))
    parts = np.empty(len(order), dtype="<U5")
    parts[order[:first]] = "train"
    parts[order[first:second]] = "valid"
    parts[order[second:]] = "test"
    return parts
