"""From ids to model inputs, with NumPy alone: the trainer and the serving worker share this code.

No sensitive column (gender, age, occupation, zip code) is a feature. Row 0 of every table stands
for what is out of the vocabulary.
"""

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marloft import files
from marloft.errors import DataError

INPUT_NAMES = ("user", "item", "year", "genres")
UNKNOWN_ID = -1
YEAR_EDGES = (1930, 1940, 1950, 1960, 1970, 1975, 1980, 1985, 1990, 1992, 1993, 1994, 1995, 1996)
YEAR_BUCKETS = len(YEAR_EDGES) + 2


@dataclass(frozen=True, kw_only=True)
class FeatureTables:
    """What the model knows about users and items.

    Attributes:
        user_ids: int64[u], ascending; user k has embedding row k + 1.
        item_ids: int64[i], ascending; item k has row k + 1.
        item_year: int64[i + 1], year bucket of each item row, 0 = unknown.
        item_genres: float32[i + 1, g], 1.0 for each genre of each item row.
        genre_names: str[g], names of the genre columns.
    """

    user_ids: NDArray[np.int64]
    item_ids: NDArray[np.int64]
    item_year: NDArray[np.int64]
    item_genres: NDArray[np.float32]
    genre_names: NDArray[np.str_]

    def save(self, path: Path) -> None:
        """Write an npz file without pickles; equal tables give equal bytes."""
        buffer = io.BytesIO()
        arrays: dict[str, NDArray[Any]] = {f.name: getattr(self, f.name) for f in fields(self)}
        np.savez(buffer, allow_pickle=False, **arrays)
        files.write_atomic(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> "FeatureTables":
        """Read what `save` wrote; raises DataError if the file is missing or something else."""
        names = [f.name for f in fields(cls)]
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                return cls(**{name: archive[name] for name in names})
        except FileNotFoundError:
            raise DataError(f"{path} does not exist; run `marloft data prepare` first.") from None
        except (ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
            raise DataError(
                f"{path} is not a feature table ({error}); run `marloft data prepare` again."
            ) from None


def build_tables(
    user_ids: NDArray[np.int64],
    item_ids: NDArray[np.int64],
    years: Sequence[int | None],
    genres: Sequence[Sequence[str]],
) -> FeatureTables:
    """Build tables from one entry per item (any order): id, release year or None, genre names."""
    order = np.argsort(item_ids)
    names = sorted({name for row in genres for name in row})
    buckets = np.zeros(len(item_ids) + 1, dtype=np.int64)
    hot = np.zeros((len(item_ids) + 1, len(names)), dtype=np.float32)
    for row, position in enumerate(order, start=1):
        buckets[row] = year_bucket(years[position])
        hot[row, [names.index(name) for name in genres[position]]] = 1.0
    return FeatureTables(
        user_ids=np.unique(user_ids).astype(np.int64),
        item_ids=np.asarray(item_ids)[order].astype(np.int64),
        item_year=buckets,
        item_genres=hot,
        genre_names=np.array(names),
    )


def year_bucket(year: int | None) -> int:
    """Return the bucket of a release year, 1 to `YEAR_BUCKETS` - 1, or 0 for None."""
    if year is None:
        return 0
    return int(np.searchsorted(YEAR_EDGES, year, side="right")) + 1


def encode(
    tables: FeatureTables, user_ids: NDArray[np.int64], item_ids: NDArray[np.int64]
) -> dict[str, NDArray[Any]]:
    """Return the model's inputs for n pairs of ids; an unknown id takes row 0.

    Returns:
        `user` int64[n], `item` int64[n], `year` int64[n], `genres` float32[n, g].
    """
    item = _rows(tables.item_ids, item_ids)
    return {
        "user": _rows(tables.user_ids, user_ids),
        "item": item,
        "year": tables.item_year[item],
        "genres": tables.item_genres[item],
    }


def parse_user_id(unit: int | str | None) -> int:
    """Return a request's user as an id of the tables: 7 and "7" are one user, None is unknown."""
    if isinstance(unit, int):
        return unit
    if unit is not None and unit.isascii() and unit.isdigit() and str(int(unit)) == unit:
        return int(unit) if len(unit) < 19 else UNKNOWN_ID
    return UNKNOWN_ID


@dataclass(frozen=True, kw_only=True)
class UnknownCounts:
    """How many rows of an encoded batch have a user or an item outside the vocabulary."""

    users: int
    items: int


def count_unknown(inputs: Mapping[str, NDArray[Any]]) -> UnknownCounts:
    """Count the rows out of the vocabulary in what `encode` returned."""
    return UnknownCounts(
        users=int(np.count_nonzero(inputs["user"] == 0)),
        items=int(np.count_nonzero(inputs["item"] == 0)),
    )


def _rows(known: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the table row of each wanted id, 0 where it is not among the ascending known ids."""
    if not len(known):
        return np.zeros(len(wanted), dtype=np.int64)
    place = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[place] == wanted, place + 1, 0).astype(np.int64)
