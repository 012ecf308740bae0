"""The log of one experiment as two tables: its requests and its users."""

import duckdb
import numpy as np
from numpy.typing import NDArray

from marloft.experiment.design import Experiment

# Model times are decimals: their sums do not depend on the order in which threads add them.
_REQUESTS = """
CREATE TEMP TABLE experiment_requests AS
SELECT request_id, time, user_id, model, release, arm, version, intended_version, status,
    latency_ms, CASE WHEN status = 200 THEN CAST(predict_ms AS DECIMAL(18, 6)) END AS model_ms,
    CASE WHEN status <> 200 THEN 0
         ELSE shown_entries(response, entries, prediction, $top) END AS impressions, response
FROM predictions WHERE role = 'answer' AND experiment = $name
"""
_CLICKS = """
CREATE TEMP TABLE request_clicks AS
SELECT request_id, count(DISTINCT position) AS clicks FROM answered_outcomes
WHERE experiment = $name AND event = $event AND is_shown(response, position, $top)
GROUP BY request_id
"""
_PHASE = """
CREATE TEMP TABLE phase_requests AS
SELECT r.*, CASE WHEN r.status = 200 THEN coalesce(c.clicks, 0) ELSE 0 END AS clicks
FROM experiment_requests r LEFT JOIN request_clicks c USING (request_id)
WHERE release IN (SELECT unnest($releases))
"""
_USERS = """
CREATE TEMP TABLE phase_users AS
SELECT user_id, arm, count(*) AS requests, sum(impressions) AS impressions, sum(clicks) AS clicks,
    CAST(coalesce(sum(model_ms), 0) AS DOUBLE) AS model_ms,
    count(model_ms) AS answers
FROM phase_requests WHERE user_id IS NOT NULL GROUP BY user_id, arm ORDER BY user_id, arm
"""
_ARMS = """
SELECT arm, count(DISTINCT user_id) AS users, count(*) AS requests,
    count(*) FILTER (WHERE status <> 200) AS failed, sum(impressions) AS impressions,
    sum(clicks) AS clicks, CAST(sum(model_ms) AS DOUBLE) / count(model_ms) AS model_time_ms
FROM phase_requests GROUP BY arm
"""
_OVER_TIME = """
WITH span AS (SELECT epoch_us(min(time)) AS first, epoch_us(max(time)) AS last FROM phase_requests),
binned AS (
    SELECT arm, impressions, clicks, least(
        $bins - 1, (epoch_us(time) - first) * $bins // greatest(last - first, 1)) AS bin
    FROM phase_requests, span
)
SELECT arm, make_timestamp(CAST(first + bin * (last - first) // $bins AS BIGINT)) AS time,
    sum(impressions) AS impressions, sum(clicks) / sum(impressions) AS ctr
FROM binned, span GROUP BY arm, bin, first, last HAVING sum(impressions) > 0 ORDER BY bin, arm
"""


def make_requests(connection: duckdb.DuckDBPyConnection, experiment: Experiment) -> None:
    """Make `experiment_requests` (answers of this experiment, any status) and their clicks."""
    ctr = experiment.metrics.ctr
    connection.execute(_REQUESTS, {"name": experiment.name, "top": ctr.top})
    connection.execute(_CLICKS, {"name": experiment.name, "event": ctr.event, "top": ctr.top})


def make_phase(connection: duckdb.DuckDBPyConnection, releases: list[int]) -> None:
    """Make `phase_requests` and `phase_users`: what was served under these releases."""
    connection.execute(_PHASE, {"releases": releases})
    connection.execute(_USERS)


def arm_rows(connection: duckdb.DuckDBPyConnection) -> dict[str, dict[str, float]]:
    """Return each arm's counts and means from `phase_requests`, by the arm's name."""
    cursor = connection.execute(_ARMS)
    names = [column[0] for column in cursor.description or ()]
    rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return {str(row.pop("arm")): row for row in rows}


def ctr_over_time(
    connection: duckdb.DuckDBPyConnection, bins: int
) -> list[tuple[str, str, int, float]]:
    """Return (arm, start of the bin in UTC ISO 8601, impressions, CTR) for `bins` time bins."""
    rows = connection.execute(_OVER_TIME, {"bins": bins}).fetchall()
    return [(arm, f"{time.isoformat()}Z", int(shown), ctr) for arm, time, shown, ctr in rows]


def latencies(
    connection: duckdb.DuckDBPyConnection, arm: str
) -> tuple[NDArray[np.float64], NDArray[np.object_]]:
    """Return an arm's latencies float64[n] in ms and whose request each was, object[n]."""
    columns = connection.execute(
        "SELECT latency_ms, coalesce(user_id, request_id) AS user_id FROM phase_requests "
        "WHERE arm = $arm AND status = 200 ORDER BY request_id",
        {"arm": arm},
    ).fetchnumpy()
    return np.asarray(columns["latency_ms"], dtype=np.float64), np.asarray(columns["user_id"])


def count(connection: duckdb.DuckDBPyConnection, query: str) -> int:
    """Return the single number that `query` yields."""
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0
