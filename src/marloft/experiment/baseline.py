"""The CTR and its spread among users, from a log of answers by control's version."""

from pathlib import Path

from marloft.errors import DataError
from marloft.experiment.design import Experiment
from marloft.experiment.effects import CTR, Moments, moments, user_aggregates
from marloft.logs.read import open_log

_USERS = """
CREATE TEMP TABLE baseline_users AS
WITH shown AS (
    SELECT request_id, user_id,
        shown_entries(response, entries, prediction, $top) AS impressions
    FROM predictions WHERE role = 'answer' AND status = 200 AND version = $version
        AND user_id IS NOT NULL
), clicked AS (
    SELECT request_id, count(DISTINCT position) AS clicks FROM answered_outcomes
    WHERE event = $event AND is_shown(response, position, $top) GROUP BY request_id
)
SELECT 'control' AS arm, user_id, sum(impressions) AS impressions,
    coalesce(sum(clicks), 0) AS clicks
FROM shown LEFT JOIN clicked USING (request_id) GROUP BY user_id
"""


def moments_from_log(experiment: Experiment, var: Path) -> Moments:
    """Return CTR's mean and variance per user among users whom control's version answered.

    Raises:
        DataError: the log holds fewer than two such users, or no click of theirs.
    """
    metric, version = experiment.metrics.ctr, experiment.control.version
    with open_log(var) as log:
        log.connection.execute(
            _USERS, {"top": metric.top, "event": metric.event, "version": version}
        )
        users = user_aggregates(log.connection, "baseline_users", ("clicks", "impressions"))
    control = users.get("control")
    if control is None or control.count() < 2 or control.mean("clicks") == 0:
        raise DataError(
            f"{var} holds no baseline: at least two users answered by version {version} and one "
            f"{metric.event!r} are needed; serve it for a while, or give --ctr."
        )
    return moments(control, CTR)
