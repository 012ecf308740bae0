"""From the raw tables to what the other steps read: parquet, feature tables, the audience."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
from msgspec import Struct
from numpy.typing import NDArray

from marloft import files
from marloft.errors import DataError
from marloft.ranker import features, splits
from marloft.ranker.movielens import LIKE_FROM, RawData

RATINGS = "ratings.parquet"
USERS = "users.parquet"
ITEMS = "items.parquet"
TABLES = "tables.npz"
AUDIENCE = "audience.jsonl"
DATASET = "dataset.json"
AUDIENCE_MIN_ITEMS = 6


class Dataset(Struct, frozen=True, kw_only=True):
    """`dataset.json`: what a prepared folder holds.

    `likes` is the share of ratings of at least 4; `files` maps each file to its SHA-256.
    """

    name: str
    rows: int
    users: int
    items: int
    likes: float
    split_seed: int
    files: dict[str, str]


class AudienceItem(Struct, frozen=True, kw_only=True):
    """A held-out item and the rating (1 to 5) that the user gave it."""

    item_id: int
    rating: int


class AudienceUser(Struct, frozen=True, kw_only=True):
    """One line of `audience.jsonl`: a user with all held-out items, by ascending id."""

    user_id: int
    items: list[AudienceItem]


def prepare(raw: RawData, out: Path, *, name: str, split_seed: int) -> Dataset:
    """Write the prepared data set into the folder `out` and return its description.

    The ratings get the columns `like` int8 (rating >= 4), `split_random` and
    `split_chronological` (train, valid or test).
    """
    ratings = raw.ratings.with_columns(
        (pl.col("rating") >= LIKE_FROM).cast(pl.Int8).alias("like"),
        pl.Series("split_random", splits.random_parts(len(raw.ratings), split_seed)),
        pl.Series("split_chronological", splits.chronological_parts(raw.ratings)),
    )
    out.mkdir(parents=True, exist_ok=True)
    ratings.write_parquet(out / RATINGS)
    raw.users.write_parquet(out / USERS)
    raw.items.write_parquet(out / ITEMS)
    _tables(raw).save(out / TABLES)
    lines = [msgspec.json.encode(user) + b"\n" for user in audience(ratings)]
    files.write_atomic(out / AUDIENCE, b"".join(lines))
    dataset = Dataset(
        name=name,
        rows=len(ratings),
        users=raw.users["user_id"].n_unique(),
        items=raw.items["item_id"].n_unique(),
        likes=float(np.mean(ratings["like"].to_numpy())),
        split_seed=split_seed,
        files={f: files.sha256_file(out / f) for f in (RATINGS, USERS, ITEMS, TABLES, AUDIENCE)},
    )
    files.write_json(out / DATASET, dataset)
    return dataset


def audience(ratings: pl.DataFrame) -> list[AudienceUser]:
    """Return the users with at least 6 test ratings of the random split, by ascending id."""
    held_out = ratings.filter(pl.col("split_random") == "test").sort("user_id", "item_id")
    groups = held_out.group_by("user_id", maintain_order=True).agg("item_id", "rating")
    return [
        AudienceUser(
            user_id=user,
            items=[AudienceItem(item_id=i, rating=r) for i, r in zip(item, rating, strict=True)],
        )
        for user, item, rating in groups.iter_rows()
        if len(item) >= AUDIENCE_MIN_ITEMS
    ]


def read_part(folder: Path, split: str, part: str) -> pl.DataFrame:
    """Read the ratings of one part (train, valid, test) of one split (random, chronological).

    Raises:
        DataError: the folder is not a prepared data set.
    """
    return _read_ratings(folder).filter(pl.col(f"split_{split}") == part)


def encode_part(
    folder: Path, split: str, part: str, tables: features.FeatureTables
) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
    """Read one part as model inputs (see `features.encode`) and likes, int64[n] of 0 and 1."""
    rows = read_part(folder, split, part)
    inputs = features.encode(tables, rows["user_id"].to_numpy(), rows["item_id"].to_numpy())
    return inputs, rows["like"].to_numpy().astype(np.int64)


def read_dataset(folder: Path) -> Dataset:
    """Read `dataset.json`; raises DataError if the folder is not a prepared data set."""
    if not (folder / DATASET).is_file():
        raise DataError(f"{folder} holds no prepared data; run `marloft data prepare` first.")
    return files.read_json(folder / DATASET, Dataset)


def _read_ratings(folder: Path) -> pl.DataFrame:
    if not (folder / RATINGS).is_file():
        raise DataError(f"{folder / RATINGS} does not exist; run `marloft data prepare` first.")
    return pl.read_parquet(folder / RATINGS)


def _tables(raw: RawData) -> features.FeatureTables:
    return features.build_tables(
        raw.users["user_id"].to_numpy(),
        raw.items["item_id"].to_numpy(),
        raw.items["release_year"].to_list(),
        raw.items["genres"].to_list(),
    )
