"""The log as a Parquet file: the views of `logs.read`, so duplicates are resolved."""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from marloft.errors import DataError
from marloft.files import PRIVATE
from marloft.logs.read import open_log

ExportKind = Literal["predictions", "outcomes", "joined"]
_SELECT = {
    "predictions": "SELECT * EXCLUDE (filename) FROM predictions",
    "outcomes": "SELECT * FROM outcomes",
    "joined": "SELECT * FROM answered_outcomes",
}


def export(
    var: Path,
    out: Path,
    kind: ExportKind = "predictions",
    since: datetime | None = None,
    until: datetime | None = None,
) -> int:
    """Write one view to a Parquet file and return the number of rows.

    Args:
        var: the folder that holds `log/`.
        out: the file to write, for this user alone (0600); it appears whole or not at all.
        kind: `joined` has the outcomes with the answer that each belongs to.
        since: rows from this time on, UTC when it has no zone; None from the beginning.
        until: rows before this time; None to the end.

    Raises:
        DataError: the log is damaged, or `until` is not after `since`.
    """
    first, last = _utc(since), _utc(until)
    if first and last and first >= last:
        raise DataError(f"--until {last.isoformat()} is not after --since {first.isoformat()}.")
    bounds = {"time >= $since": first, "time < $until": last}
    where = " AND ".join(condition for condition, time in bounds.items() if time) or "true"
    given = {name.split("$")[1]: time for name, time in bounds.items() if time}
    query = f"{_SELECT[kind]} WHERE {where} ORDER BY time, request_id"
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.with_name(f".{out.name}.tmp")
    unfinished.unlink(missing_ok=True)
    os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE))
    try:
        with open_log(var) as log:
            target = str(unfinished).replace("'", "''")
            # DuckDB would otherwise write a file of its own, readable to all, and rename that.
            how = "FORMAT parquet, USE_TMP_FILE false"
            log.connection.execute(f"COPY ({query}) TO '{target}' ({how})", given)
            (rows,) = log.connection.execute(
                "SELECT count(*) FROM read_parquet($file)", {"file": str(unfinished)}
            ).fetchone() or (0,)
        unfinished.replace(out)
    finally:
        unfinished.unlink(missing_ok=True)
    return int(rows)


def _utc(time: datetime | None) -> datetime | None:
    """Return the time as the views have it: UTC without a zone."""
    if time is None or time.tzinfo is None:
        return time
    return time.astimezone(UTC).replace(tzinfo=None)
