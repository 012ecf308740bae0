"""The predictions that an audit judges, read and checked once."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from marloft.errors import ConfigError, DataError, nearest
from marloft.fairness.design import Audit, SensitiveFeature
from marloft.files import sha256_file

MODEL_SHA256 = "model_sha256"


@dataclass(frozen=True, kw_only=True)
class Grouping:
    """The groups of one feature: `codes` int64[n] index `names`."""

    names: list[str]
    codes: NDArray[np.int64]

    def labels(self) -> NDArray[np.object_]:
        """Return each row's group name, object[n]."""
        return np.array(self.names, dtype=object)[self.codes]


@dataclass(frozen=True, kw_only=True)
class ScoredRows:
    """Rows of one part.

    Attributes:
        labels: int64[n] of 0 and 1.
        scores: float64[n].
        units: int64[n], the number of each row's unit, 0…`unit_count` - 1.
        unit_count: how many units have rows here.
        groupings: each feature's groups, intersections included.
    """

    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    units: NDArray[np.int64]
    unit_count: int
    groupings: dict[str, Grouping]


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """The judged rows, those to learn a mitigation on (None without one), and their origin."""

    judged: ScoredRows
    fit: ScoredRows | None
    sha256: str
    model_sha256: str | None


def write_predictions(path: Path, table: pl.DataFrame, *, model_sha256: str) -> None:
    """Write predictions that name the artifact whose scores they are, by its SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table.write_parquet(path, metadata={MODEL_SHA256: model_sha256})


def read_predictions(audit: Audit) -> Predictions:
    """Read the rows that the audit needs.

    Raises:
        DataError: the file is missing or not a parquet file, a part has no rows, a value is
            missing, or a label is neither 0 nor 1.
        ConfigError: a column that the audit names is missing; the nearest one is offered.
    """
    path = Path(audit.predictions)
    table, metadata = _read(path)
    _check_columns(table, audit)
    model = metadata.get(MODEL_SHA256)
    judged = table
    fit = None
    if audit.parts is not None:
        judged = _part(table, audit.parts.column, [audit.parts.evaluate], path)
    if audit.parts is not None and audit.mitigation is not None:
        fit = _rows(_part(table, audit.parts.column, audit.mitigation.fit, path), audit)
    return Predictions(
        judged=_rows(judged, audit), fit=fit, sha256=sha256_file(path), model_sha256=model
    )


def _read(path: Path) -> tuple[pl.DataFrame, dict[str, str]]:
    if not path.is_file():
        raise DataError(
            f"predictions {path} do not exist; score the evaluation rows first "
            "(docs/fairness.md), or correct `predictions`."
        )
    try:
        return pl.read_parquet(path), pl.read_parquet_metadata(path)
    except pl.exceptions.ComputeError as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path} is not a parquet file ({reason}); write it again.") from None


def _check_columns(table: pl.DataFrame, audit: Audit) -> None:
    wanted = {"unit": audit.unit, "label": audit.label, "score": audit.score}
    wanted |= {
        f"sensitive_features.{name}": feature.column
        for name, feature in audit.sensitive_features.items()
    }
    if audit.parts is not None:
        wanted["parts.column"] = audit.parts.column
    for key, column in wanted.items():
        if column not in table.columns:
            raise ConfigError(
                f"{key}: {audit.predictions} has no column {column!r}."
                + nearest(column, table.columns)
            )
        absent = table[column].null_count()
        if absent:
            raise DataError(
                f"{audit.predictions}: column {column!r} has {absent:,} missing values; leave "
                "those rows out, or give missing a value of its own."
            )


def _part(table: pl.DataFrame, column: str, parts: Sequence[str], path: Path) -> pl.DataFrame:
    known = {str(value) for value in table[column].unique()}
    for part in parts:
        if part not in known:
            raise ConfigError(f"{path} has no rows of part {part!r}.{nearest(part, known)}")
    return table.filter(pl.col(column).cast(pl.String).is_in(list(parts)))


def _rows(table: pl.DataFrame, audit: Audit) -> ScoredRows:
    labels = _numbers(table, audit.label)
    if not np.isin(labels, (0, 1)).all():
        raise DataError(f"column {audit.label!r} holds values other than 0 and 1; recode it.")
    scores = _numbers(table, audit.score)
    if not np.isfinite(scores).all():
        raise DataError(f"column {audit.score!r} holds values that are not finite; score again.")
    known, units = np.unique(table[audit.unit].cast(pl.String).to_numpy(), return_inverse=True)
    groupings = {
        name: _grouping(table, name, feature) for name, feature in audit.sensitive_features.items()
    }
    for names in audit.intersections:
        groupings["|".join(names)] = intersection([groupings[name] for name in names])
    return ScoredRows(
        labels=labels.astype(np.int64),
        scores=scores,
        units=units.astype(np.int64),
        unit_count=len(known),
        groupings=groupings,
    )


def _numbers(table: pl.DataFrame, column: str) -> NDArray[np.float64]:
    kind = table[column].dtype
    if not (kind.is_numeric() or kind == pl.Boolean):
        raise DataError(f"column {column!r} is {kind}, not a number; convert it.")
    return table[column].cast(pl.Float64).to_numpy()


def _grouping(table: pl.DataFrame, name: str, feature: SensitiveFeature) -> Grouping:
    if not feature.edges:
        return grouping(table[feature.column].cast(pl.String).to_list())
    if not table[feature.column].dtype.is_numeric():
        raise ConfigError(
            f"sensitive_features.{name}: column {feature.column!r} is not a number, so `edges` "
            "cannot cut it; take `edges` out."
        )
    whole = table[feature.column].dtype.is_integer()
    values = _numbers(table, feature.column)
    places = np.searchsorted(feature.edges, values, side="right")
    return _present(band_names(feature.edges, whole=whole), places.astype(np.int64))


def grouping(values: Sequence[Any]) -> Grouping:
    """Return the groups of one value per row, by ascending name."""
    names, codes = np.unique(np.array([str(value) for value in values]), return_inverse=True)
    return Grouping(names=[str(name) for name in names], codes=codes.astype(np.int64))


def intersection(parts: Sequence[Grouping]) -> Grouping:
    """Return the combinations that occur, named `a|b`."""
    return grouping(["|".join(row) for row in zip(*(part.labels() for part in parts), strict=True)])


def band_names(edges: Sequence[float], *, whole: bool) -> list[str]:
    """Return the bands' names: `<25`, `25-34` and `35+` for whole numbers, else `25 to <35`."""
    plain = whole and all(float(edge).is_integer() for edge in edges)
    inner = [
        f"{low:g}-{high - 1:g}" if plain else f"{low:g} to <{high:g}"
        for low, high in pairwise(edges)
    ]
    return [f"<{edges[0]:g}", *inner, f"{edges[-1]:g}+"]


def _present(names: list[str], codes: NDArray[np.int64]) -> Grouping:
    """Drop the bands that no row is in, in the order of the bands."""
    held, codes = np.unique(codes, return_inverse=True)
    return Grouping(names=[names[int(code)] for code in held], codes=codes.astype(np.int64))
