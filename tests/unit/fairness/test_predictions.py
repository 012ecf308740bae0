"""Reading predictions: bands, units, parts, and what is refused."""

from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest

from marloft.errors import ConfigError, DataError
from marloft.fairness.design import SensitiveFeature
from marloft.fairness.predictions import band_names, grouping, intersection, read_predictions
from tests.unit.fairness.worlds import MODEL, audit_of, world


@pytest.fixture
def table() -> pl.DataFrame:
    return world(users=20, rows_per_user=4, shifts=(0.0, 0.1))


def test_rows_units_and_origin_are_read(table: pl.DataFrame, tmp_path: Path) -> None:
    found = read_predictions(audit_of(table, tmp_path))
    assert (found.judged.unit_count, len(found.judged.labels)) == (20, 80)
    assert found.fit is None
    assert found.model_sha256 == MODEL


def test_parts_separate_judged_rows_from_those_to_learn_on(
    table: pl.DataFrame, tmp_path: Path
) -> None:
    found = read_predictions(audit_of(table, tmp_path, mitigate=True))
    assert found.fit is not None
    assert len(found.judged.labels) == (table["part"] == "test").sum()
    assert len(found.fit.labels) == (table["part"] == "valid").sum()


def test_edges_begin_bands() -> None:
    assert band_names([25, 35, 50], whole=True) == ["<25", "25-34", "35-49", "50+"]
    assert band_names([0.5, 0.7], whole=False) == ["<0.5", "0.5 to <0.7", "0.7+"]


def test_values_on_an_edge_are_in_the_upper_band(table: pl.DataFrame, tmp_path: Path) -> None:
    audit = msgspec.structs.replace(
        audit_of(table, tmp_path),
        sensitive_features={"age": SensitiveFeature(column="age", edges=[20, 35, 60])},
    )
    bands = read_predictions(audit).judged.groupings["age"]
    assert bands.names == ["20-34", "35-59"]
    assert (bands.labels() == np.where(table["age"].to_numpy() == 20, "20-34", "35-59")).all()


def test_intersection_names_what_occurs() -> None:
    both = intersection([grouping(["F", "M", "F"]), grouping(["a", "b", "b"])])
    assert both.labels().tolist() == ["F|a", "M|b", "F|b"]


def test_missing_column_names_the_nearest(table: pl.DataFrame, tmp_path: Path) -> None:
    audit = audit_of(table.rename({"score": "scores"}), tmp_path)
    with pytest.raises(
        ConfigError, match=r"score: .* has no column 'score'. Did you mean 'scores'"
    ):
        read_predictions(audit)


def test_missing_part_names_those_there(table: pl.DataFrame, tmp_path: Path) -> None:
    audit = audit_of(table.filter(pl.col("part") == "test"), tmp_path, mitigate=True)
    with pytest.raises(ConfigError, match="no rows of part 'valid'"):
        read_predictions(audit)


def test_missing_file_says_how_to_get_it(table: pl.DataFrame, tmp_path: Path) -> None:
    audit = audit_of(table, tmp_path)
    Path(audit.predictions).unlink()
    with pytest.raises(DataError, match="do not exist; score the evaluation rows first"):
        read_predictions(audit)


def test_damaged_file_is_refused(table: pl.DataFrame, tmp_path: Path) -> None:
    audit = audit_of(table, tmp_path)
    Path(audit.predictions).write_bytes(b"no parquet")
    with pytest.raises(DataError, match="is not a parquet file"):
        read_predictions(audit)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (pl.col("label").replace(1, 2), "'label' holds values other than 0 and 1"),
        (pl.lit(None, dtype=pl.Float64).alias("score"), "'score' has 80 missing values"),
        (pl.lit(float("nan")).alias("score"), "'score' holds values that are not finite"),
        (pl.lit("high").alias("score"), "'score' is String, not a number"),
        (pl.lit(None, dtype=pl.String).alias("group"), "'group' has 80 missing values"),
    ],
)
def test_bad_values_are_refused(
    table: pl.DataFrame, tmp_path: Path, change: pl.Expr, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read_predictions(audit_of(table.with_columns(change), tmp_path))


def test_edges_on_text_are_refused(table: pl.DataFrame, tmp_path: Path) -> None:
    audit = msgspec.structs.replace(
        audit_of(table, tmp_path),
        sensitive_features={"group": SensitiveFeature(column="group", edges=[1])},
    )
    with pytest.raises(ConfigError, match="is not a number, so `edges` cannot cut it"):
        read_predictions(audit)
