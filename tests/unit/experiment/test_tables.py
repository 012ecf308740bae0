"""The tables of one experiment, against counts by hand from the raw lines."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from harness.factories import REPOSITORY
from marloft.experiment import tables
from marloft.experiment.design import read_experiment
from marloft.logs.read import open_log
from tests.unit.logs import typed
from tests.unit.logs.test_read import outcome, prediction
from tests.unit.logs.world import write_segment

EXPERIMENT = read_experiment(REPOSITORY / "workflows" / "feed_ab" / "experiment.yaml")
OURS = {"experiment": "feed_ab", "release": 1}


def asked(request_id: str, user: str, arm: str, **changes: object) -> dict[str, object]:
    return prediction(request_id, user_id=user, arm=arm, **(OURS | changes))


@pytest.fixture
def db(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Two users of control, one of treatment, and what does not count."""
    records = [
        asked("a", "1", "control", prediction=[1, 2, 3, 4], predict_ms=1.0, latency_ms=4.0),
        asked("b", "1", "control", prediction=[5], predict_ms=3.0, latency_ms=6.0),
        asked("c", "2", "control", status=500, prediction=None, latency_ms=9.0),
        asked("d", "3", "treatment", prediction=[1, 2], predict_ms=0.5, latency_ms=2.0),
        asked("later", "3", "treatment", release=2, prediction=[1]),
        prediction("outside", user_id="4"),
        asked("other", "5", "control", experiment="another"),
    ]
    clicks = [
        *(outcome("a", 1), outcome("a", 1), outcome("a", 4), outcome("b", 5)),
        *(outcome("c", 1), outcome("d", 2), outcome("d", 1, event="conversion")),
    ]
    write_segment(tmp_path, "predictions", records)
    write_segment(tmp_path, "outcomes", clicks)
    with open_log(tmp_path) as log:
        tables.make_requests(log.connection, EXPERIMENT)
        tables.make_phase(log.connection, [1])
        yield log.connection


def test_requests_are_those_of_the_experiment_in_any_release(
    db: duckdb.DuckDBPyConnection,
) -> None:
    assert tables.count(db, "SELECT count(*) FROM experiment_requests") == 5
    assert tables.count(db, "SELECT count(*) FROM phase_requests") == 4


def test_arms_are_counted_by_what_was_shown(db: duckdb.DuckDBPyConnection) -> None:
    """The first three items of an answer can be clicked, each once; a failed answer shows none."""
    assert tables.arm_rows(db) == {
        "control": {
            "users": 2,
            "requests": 3,
            "failed": 1,
            "impressions": 4,
            "clicks": 2,
            "model_time_ms": 2.0,
        },
        "treatment": {
            "users": 1,
            "requests": 1,
            "failed": 0,
            "impressions": 2,
            "clicks": 1,
            "model_time_ms": 0.5,
        },
    }


def test_users_are_the_units(db: duckdb.DuckDBPyConnection) -> None:
    found = db.execute("SELECT user_id, requests, impressions, clicks, answers FROM phase_users")
    assert found.fetchall() == [("1", 2, 4, 2, 2), ("2", 1, 0, 0, 0), ("3", 1, 2, 1, 1)]


def test_latencies_are_of_answered_requests_with_their_users(
    db: duckdb.DuckDBPyConnection,
) -> None:
    values, users = tables.latencies(db, "control")
    assert (values.tolist(), users.tolist()) == ([4.0, 6.0], ["1", "1"])


def test_ctr_over_time_is_that_of_each_arm(db: duckdb.DuckDBPyConnection) -> None:
    start = "2026-01-01T00:00:00Z"
    assert tables.ctr_over_time(db, 12) == [
        ("control", start, 4, 0.5),
        ("treatment", start, 2, 0.5),
    ]


def test_entries_of_every_type_are_counted_as_declared(tmp_path: Path) -> None:
    records = [
        each | OURS | {"user_id": each["request_id"], "arm": "control"} for each in typed.records()
    ]
    clicks = [
        *(outcome("ranking", 2), outcome("ranking", 0), outcome("grades", 3), outcome("grades", 4)),
        *(outcome("one-number", None), outcome("one-number", 0), outcome("vector", 0)),
        *(outcome("object", "a"), outcome("undeclared", 3), outcome("undeclared", 0)),
    ]
    write_segment(tmp_path, "predictions", records)
    write_segment(tmp_path, "outcomes", clicks)
    with open_log(tmp_path) as log:
        tables.make_requests(log.connection, EXPERIMENT)
        tables.make_phase(log.connection, [1])
        query = "SELECT user_id, impressions, clicks FROM phase_users"
        found = {user: (shown, hit) for user, shown, hit in log.connection.sql(query).fetchall()}
    assert found["ranking"] == (3, 2)
    assert found["grades"] == (4, 1)
    assert found["one-number"] == (1, 1)
    assert found["vector"] == (1, 1)
    assert found["object"] == (1, 0)
    assert found["undeclared"] == (2, 1)
