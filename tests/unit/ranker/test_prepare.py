"""What `prepare` writes."""

from pathlib import Path

import polars as pl
import pytest

from marloft import files
from marloft.errors import DataError
from marloft.ranker import prepare
from marloft.ranker.features import FeatureTables
from marloft.ranker.movielens import RawData


@pytest.fixture
def prepared(small_data: RawData, tmp_path: Path) -> Path:
    prepare.prepare(small_data, tmp_path, name="synthetic", split_seed=2020)
    return tmp_path


def test_prepare_describes_its_files_by_hash(prepared: Path) -> None:
    dataset = prepare.read_dataset(prepared)
    assert (dataset.rows, dataset.users, dataset.items) == (2_000, 60, 50)
    assert dataset.files == {name: files.sha256_file(prepared / name) for name in dataset.files}


def test_prepare_writes_the_same_bytes_again(
    small_data: RawData, prepared: Path, tmp_path: Path
) -> None:
    again = prepare.prepare(small_data, tmp_path / "b", name="synthetic", split_seed=2020)
    assert again == prepare.read_dataset(prepared)


def test_prepare_calls_a_rating_of_4_a_like(prepared: Path) -> None:
    ratings = pl.read_parquet(prepared / prepare.RATINGS)
    likes = dict(ratings.group_by("rating").agg(pl.col("like").unique().first()).iter_rows())
    assert likes == {1: 0, 2: 0, 3: 0, 4: 1, 5: 1}


def test_prepare_cuts_both_splits_80_10_10(prepared: Path) -> None:
    for split in ("random", "chronological"):
        rows = [len(prepare.read_part(prepared, split, p)) for p in ("train", "valid", "test")]
        assert rows == [1_600, 200, 200]


def test_tables_hold_no_sensitive_column(prepared: Path) -> None:
    names = set(FeatureTables.load(prepared / prepare.TABLES).__dict__)
    assert names == {"user_ids", "item_ids", "item_year", "item_genres", "genre_names"}


def test_audience_is_users_with_six_held_out_items_and_their_real_ratings(prepared: Path) -> None:
    test = prepare.read_part(prepared, "random", "test")
    truth = {(u, i): r for u, i, r in test.select("user_id", "item_id", "rating").iter_rows()}
    users = [
        files.parse_json(line, prepare.AudienceUser, "audience")
        for line in (prepared / prepare.AUDIENCE).read_bytes().splitlines()
    ]
    counts = test.group_by("user_id").len().filter(pl.col("len") >= 6)
    assert [u.user_id for u in users] == sorted(counts["user_id"])
    assert 0 < len(users) < test["user_id"].n_unique()
    assert all(truth[u.user_id, i.item_id] == i.rating for u in users for i in u.items)


def test_read_dataset_of_an_empty_folder_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run `marloft data prepare` first"):
        prepare.read_dataset(tmp_path)
    with pytest.raises(DataError, match="run `marloft data prepare` first"):
        prepare.read_part(tmp_path, "random", "test")
