"""The exported file holds what the views hold, each request once."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet
import pytest

from marloft.errors import DataError
from marloft.logs.export import ExportKind, export
from marloft.logs.read import open_log
from tests.file_modes import mode, umask
from tests.unit.logs import typed
from tests.unit.logs.test_read import outcome, prediction
from tests.unit.logs.world import write_segment

VIEWS: dict[ExportKind, str] = {
    "predictions": "SELECT * EXCLUDE (filename) FROM predictions",
    "outcomes": "SELECT * FROM outcomes",
    "joined": "SELECT * FROM answered_outcomes",
}


@pytest.fixture
def var(tmp_path: Path) -> Path:
    times = [f"2026-01-01T0{hour}:00:00.000Z" for hour in range(4)]
    records = [prediction(f"r{n}", time=time, scores=[0.5, 0.25]) for n, time in enumerate(times)]
    records.append(prediction("r2", time=times[3], attempt=2, version="2.0"))
    write_segment(tmp_path, "predictions", records)
    clicks = [outcome("r1", 4, time=times[1]), outcome("r1", 4, time=times[2])]
    write_segment(tmp_path, "outcomes", [*clicks, outcome("r3", 9, time=times[3], value=2)])
    return tmp_path


def exported(out: Path) -> list[dict[str, Any]]:
    relation = duckdb.connect().sql(f"SELECT * FROM read_parquet('{out}')")
    return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]


def test_export_is_for_its_owner_alone(var: Path) -> None:
    out = var / "out.parquet"
    out.write_bytes(b"an earlier one")
    out.chmod(0o644)
    with umask(0):
        export(var, out)
    assert mode(out) == 0o600


@pytest.mark.parametrize("kind", VIEWS)
def test_export_equals_the_view(var: Path, kind: ExportKind) -> None:
    rows = export(var, var / "out.parquet", kind)
    with open_log(var) as log:
        relation = log.connection.sql(f"{VIEWS[kind]} ORDER BY time, request_id")
        expected = [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]
    assert exported(var / "out.parquet") == expected
    assert rows == len(expected) > 1


def test_duplicates_are_resolved(var: Path) -> None:
    assert export(var, var / "out.parquet") == 4
    found = {row["request_id"]: row["attempt"] for row in exported(var / "out.parquet")}
    assert found == {"r0": 1, "r1": 1, "r2": 2, "r3": 1}
    assert export(var, var / "o.parquet", "outcomes") == 2


def test_other_programs_read_the_file(var: Path) -> None:
    export(var, var / "out.parquet")
    table = pyarrow.parquet.read_table(var / "out.parquet")
    assert table.column("scores").to_pylist() == [[0.5, 0.25], [0.5, 0.25], None, [0.5, 0.25]]
    assert "filename" not in table.column_names


@pytest.mark.parametrize(
    ("since", "until", "ids"),
    [
        (datetime(2026, 1, 1, 1), None, ["r1", "r2", "r3"]),
        (None, datetime(2026, 1, 1, 1), ["r0"]),
        (datetime(2026, 1, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 3), ["r1"]),
        (datetime(2026, 1, 1, 3, tzinfo=timezone(timedelta(hours=2))), None, ["r1", "r2", "r3"]),
    ],
)
def test_bounds_include_the_first_and_exclude_the_last_moment(
    var: Path, since: datetime | None, until: datetime | None, ids: list[str]
) -> None:
    export(var, var / "out.parquet", "predictions", since, until)
    assert [row["request_id"] for row in exported(var / "out.parquet")] == ids


def test_empty_log_gives_an_empty_table_with_columns(tmp_path: Path) -> None:
    assert export(tmp_path, tmp_path / "it's" / "out.parquet", "joined") == 0
    names = pyarrow.parquet.read_schema(tmp_path / "it's" / "out.parquet").names
    assert "position" in names


def test_bounds_that_hold_nothing_are_refused(var: Path) -> None:
    with pytest.raises(DataError, match="is not after"):
        export(var, var / "o.parquet", since=datetime(2026, 1, 2), until=datetime(2026, 1, 2))


def test_damaged_log_leaves_the_file_as_it_was(var: Path) -> None:
    export(var, var / "out.parquet")
    before = (var / "out.parquet").read_bytes()
    write_segment(var, "predictions", [{"not": "a record"}, {"nor": "this"}], host="other")
    with pytest.raises(DataError, match="not records"):
        export(var, var / "out.parquet")
    assert (var / "out.parquet").read_bytes() == before
    assert [path.name for path in var.glob("*parquet*")] == ["out.parquet"]


def test_joined_export_has_what_a_label_is_about(tmp_path: Path) -> None:
    write_segment(tmp_path, "predictions", typed.records())
    labels = [outcome("grades", row, event="label", value="good") for row in (0, 1)]
    write_segment(tmp_path, "outcomes", labels)
    assert export(tmp_path, tmp_path / "out.parquet", "joined") == 2
    table = pyarrow.parquet.read_table(tmp_path / "out.parquet")
    assert table.column("label").to_pylist() == ['"good"', '"good"']
    assert sorted(table.column("prediction").to_pylist()) == ['"bad"', '"good"']
    assert sorted(table.column("confidence").to_pylist()) == [0.8, 0.9]
