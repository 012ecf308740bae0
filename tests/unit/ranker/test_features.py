"""Feature tables and the encoding shared by trainer and worker."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from marloft.errors import DataError
from marloft.ranker import features
from marloft.ranker.features import FeatureTables


@pytest.fixture
def tables() -> FeatureTables:
    return features.build_tables(
        np.array([9, 7]), np.array([50, 20]), [1995, None], [["Drama", "War"], ["Comedy"]]
    )


def test_encode_gives_rows_years_and_genres_of_the_ids(tables: FeatureTables) -> None:
    inputs = features.encode(tables, np.array([7, 9]), np.array([50, 20]))
    assert inputs["user"].tolist() == [1, 2]
    assert inputs["item"].tolist() == [2, 1]
    assert inputs["year"].tolist() == [features.year_bucket(1995), 0]
    assert inputs["genres"].tolist() == [[0.0, 1.0, 1.0], [1.0, 0.0, 0.0]]
    assert tables.genre_names.tolist() == ["Comedy", "Drama", "War"]


def test_encode_has_the_documented_types(tables: FeatureTables) -> None:
    inputs = features.encode(tables, np.array([7]), np.array([50]))
    types = {name: str(array.dtype) for name, array in inputs.items()}
    assert types == {"user": "int64", "item": "int64", "year": "int64", "genres": "float32"}
    assert tuple(inputs) == features.INPUT_NAMES


@pytest.mark.parametrize("unknown", [-1, 0, 8, 10, 2**62])
def test_encode_gives_row_0_to_unknown_ids(tables: FeatureTables, unknown: int) -> None:
    inputs = features.encode(tables, np.array([unknown, 7]), np.array([unknown, 50]))
    assert [inputs[name][0] for name in ("user", "item", "year")] == [0, 0, 0]
    assert not inputs["genres"][0].any()
    assert features.count_unknown(inputs) == features.UnknownCounts(users=1, items=1)


def test_encode_with_empty_tables_knows_nobody() -> None:
    empty = features.build_tables(np.array([], dtype=np.int64), np.array([5]), [1990], [["War"]])
    assert features.encode(empty, np.array([5]), np.array([5]))["user"].tolist() == [0]


@pytest.mark.parametrize(("year", "bucket"), [(None, 0), (1900, 1), (1929, 1), (1930, 2)])
def test_year_bucket_starts_at_1_and_keeps_0_for_unknown(year: int | None, bucket: int) -> None:
    assert features.year_bucket(year) == bucket


def test_year_bucket_never_reaches_the_table_size() -> None:
    assert features.year_bucket(2100) == features.YEAR_BUCKETS - 1


@pytest.mark.parametrize(
    ("unit", "user"),
    [
        (7, 7),
        ("7", 7),
        (None, -1),
        ("anna", -1),
        ("007", -1),
        ("-7", -1),
        ("٣", -1),
        ("9" * 40, -1),
    ],
)
def test_parse_user_id_reads_only_plain_numbers(unit: int | str | None, user: int) -> None:
    assert features.parse_user_id(unit) == user


def test_tables_survive_saving_and_have_reproducible_bytes(
    tables: FeatureTables, tmp_path: Path
) -> None:
    tables.save(tmp_path / "a.npz")
    again = FeatureTables.load(tmp_path / "a.npz")
    again.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert (again.item_genres == tables.item_genres).all()


@pytest.mark.parametrize("content", [b"", b"not an npz", b"PK\x03\x04broken"])
def test_load_of_a_damaged_file_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tables.npz").write_bytes(content)
    with pytest.raises(DataError, match="marloft data prepare"):
        FeatureTables.load(tmp_path / "tables.npz")


def test_load_refuses_pickled_objects(tmp_path: Path) -> None:
    path = tmp_path / "tables.npz"
    np.savez(path, user_ids=np.array([object()]))
    with pytest.raises(DataError, match="allow_pickle=False"):
        FeatureTables.load(path)


def test_features_load_no_heavy_library() -> None:
    probe = "import sys, marloft.ranker.features; print(*{m.split('.')[0] for m in sys.modules})"
    loaded = subprocess.check_output([sys.executable, "-c", probe], text=True)
    assert "numpy" in loaded.split()
    assert not {"torch", "pandas", "polars", "duckdb"} & set(loaded.split())
