"""Generated ratings with planted effects, in the shape of MovieLens: tests without a download.

The rating of user u for item i, of which a part is noise, is

    clip(round(3.6 + a_u + q_i + slope * (year_i - 1980) / 20 + t_u . g_i + noise), 1, 5)

with a_u ~ N(0, user_sd), q_i ~ N(0, item_sd), g_i the item's genres (multi-hot) and t_u the
user's taste, N(0, taste_sd) per genre. A model that knows users, items, years and genres can find
all of it; one that ranks at random has an AUC of 0.5.
"""

import numpy as np
import polars as pl
from msgspec import Struct
from numpy.typing import NDArray

from marloft.ranker.movielens import RawData

GENRES = ("Action", "Comedy", "Drama", "Horror", "Romance", "Western")
_FIRST_DAY = 874_724_710


class SyntheticSpec(Struct, frozen=True, kw_only=True):
    """Size of the generated data and strength of each planted effect (in rating points)."""

    users: int = 300
    items: int = 200
    ratings: int = 20_000
    user_sd: float = 0.5
    item_sd: float = 0.7
    year_slope: float = 0.3
    taste_sd: float = 0.3
    noise_sd: float = 0.8
    seed: int = 0


def generate(spec: SyntheticSpec) -> RawData:
    """Generate a data set; the same spec gives the same rows."""
    rng = np.random.default_rng(spec.seed)
    years = rng.integers(1930, 1999, spec.items)
    genres = (rng.random((spec.items, len(GENRES))) < 0.3).astype(np.float64)
    genres[genres.sum(axis=1) == 0, 0] = 1.0
    pairs = rng.choice(spec.users * spec.items, size=spec.ratings, replace=False)
    user, item = pairs // spec.items, pairs % spec.items
    taste = rng.normal(0, spec.taste_sd, (spec.users, len(GENRES)))
    value = (
        3.6
        + rng.normal(0, spec.user_sd, spec.users)[user]
        + (rng.normal(0, spec.item_sd, spec.items) + spec.year_slope * (years - 1980) / 20)[item]
        + (taste[user] * genres[item]).sum(axis=1)
        + rng.normal(0, spec.noise_sd, spec.ratings)
    )
    ratings = pl.DataFrame(
        {
            "user_id": user + 1,
            "item_id": item + 1,
            "rating": np.clip(np.rint(value), 1, 5).astype(np.int64),
            "timestamp": _FIRST_DAY + rng.integers(0, 200 * 86_400, spec.ratings),
        }
    )
    return RawData(ratings=ratings, users=_users(spec, rng), items=_items(years, genres))


def _users(spec: SyntheticSpec, rng: np.random.Generator) -> pl.DataFrame:
    """Describe users whose sensitive columns carry no effect: an audit must find none."""
    return pl.DataFrame(
        {
            "user_id": np.arange(1, spec.users + 1),
            "age": rng.integers(15, 70, spec.users),
            "gender": rng.choice(["F", "M"], spec.users),
            "occupation": rng.choice(["artist", "engineer", "student"], spec.users),
            "zip_code": [f"{code:05d}" for code in rng.integers(0, 100_000, spec.users)],
        }
    )


def _items(years: NDArray[np.int64], genres: NDArray[np.float64]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "item_id": np.arange(1, len(years) + 1),
            "title": [f"Movie {number}" for number in range(1, len(years) + 1)],
            "release_year": years,
            "genres": [[g for g, on in zip(GENRES, row, strict=True) if on] for row in genres],
        }
    )
