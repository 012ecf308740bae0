"""The reader of whole logs: DuckDB views over predictions and outcomes (`logs.tail` follows them).

Views of an open log (all columns of `contract.records`, times as UTC timestamps):

- `predictions`: one row per (request_id, role), the highest attempt;
- `outcomes`: one row per (request_id, item_id, event), the first one received; item ids as text,
  null for the answer as a whole. `value` has numbers; `label`, as JSON, the values of `label`
  events and of others those that are no numbers;
- `answered_outcomes`: outcomes joined to the answer they belong to, with `position`, the place in
  that answer of the entry they name (1 = first; null when it has none such). Of a classification
  or regression they have that entry's `prediction`, `confidence`, `probabilities`, `interval`.

Macros say what `contract.shown` says, of the columns of `predictions` and `answered_outcomes`:
`shown_entries(response, entries, prediction, top)` and `is_shown(response, position, top)`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from marloft.contract.outcome_api import LABEL_EVENT
from marloft.contract.records import OUTCOMES_FOLDER, PREDICTIONS_FOLDER, RECORD_SCHEMA
from marloft.contract.segments import segments, torn_path
from marloft.contract.shown import RANKING
from marloft.errors import DataError

if TYPE_CHECKING:
    import duckdb

# Only who opens a log needs DuckDB: whoever checks a record's schema may have none.
# ruff: noqa: PLC0415

_PREDICTION_COLUMNS = {
    "schema": "INTEGER",
    "time": "VARCHAR",
    "request_id": "VARCHAR",
    "attempt": "INTEGER",
    "role": "VARCHAR",
    "status": "INTEGER",
    "user_id": "VARCHAR",
    "model": "VARCHAR",
    "version": "VARCHAR",
    "intended_version": "VARCHAR",
    "archive_sha256": "VARCHAR",
    "release": "INTEGER",
    "experiment": "VARCHAR",
    "arm": "VARCHAR",
    "propensity": "DOUBLE",
    "features": "JSON",
    "prediction": "JSON",
    "scores": "DOUBLE[]",
    "queue_ms": "DOUBLE",
    "predict_ms": "DOUBLE",
    "latency_ms": "DOUBLE",
    "stages": "JSON",
    "error": "VARCHAR",
    "extra": "JSON",
    "parameters": "JSON",
    "response": "VARCHAR",
    "entries": "UBIGINT",
    "confidence": "JSON",
    "probabilities": "JSON",
    "interval": "JSON",
}
_OUTCOME_COLUMNS = {
    "schema": "INTEGER",
    "time": "VARCHAR",
    "request_id": "VARCHAR",
    "item_id": "JSON",
    "event": "VARCHAR",
    "value": "JSON",
}
_PREDICTION_REQUIRED = (
    *("schema", "time", "request_id", "attempt", "role", "status", "model", "version"),
    "latency_ms",
)
_OUTCOME_REQUIRED = ("schema", "time", "request_id", "event")
# A request of many wide rows is one line; DuckDB's own limit is 16 MiB.
_LARGEST_LINE_BYTES = 64 << 20

_VIEWS = f"""
CREATE MACRO is_ranked(response) AS response IS NULL OR response = '{RANKING}';

CREATE MACRO shown_entries(response, entries, prediction, top) AS
CASE WHEN NOT is_ranked(response) THEN coalesce(entries, 0)
     WHEN json_type(prediction) = 'ARRAY' THEN least(top, json_array_length(prediction))
     ELSE 1 END;

CREATE MACRO is_shown(response, position, top) AS
CASE WHEN is_ranked(response) THEN position <= top ELSE position IS NOT NULL END;

CREATE MACRO position_of(response, entries, prediction, item_id) AS
CASE WHEN is_ranked(response) THEN list_position(
         CASE WHEN json_type(prediction) = 'ARRAY'
              THEN json_extract_string(prediction, '$[*]') ELSE [prediction ->> '$'] END, item_id)
     WHEN item_id IS NULL THEN CASE WHEN entries = 1 THEN 1 END
     WHEN NOT regexp_full_match(item_id, '0|[1-9][0-9]{{0,9}}') THEN NULL
     WHEN TRY_CAST(item_id AS BIGINT) < entries THEN TRY_CAST(item_id AS INTEGER) + 1 END;

-- Of an entry there is one label or number, so that a list of them has an entry per row.
CREATE MACRO entry_part(response, prediction, part, position) AS
CASE WHEN response IN ('classification', 'regression') AND position IS NOT NULL THEN
     CASE WHEN json_type(prediction) = 'ARRAY'
          THEN json_extract(part, CAST(position - 1 AS BIGINT)) ELSE part END END;

CREATE VIEW predictions AS
SELECT * REPLACE (CAST(time AS TIMESTAMP) AS time)
FROM prediction_lines
WHERE request_id IS NOT NULL
QUALIFY row_number() OVER (
    PARTITION BY request_id, role ORDER BY attempt DESC, prediction_lines.time DESC
) = 1;

CREATE VIEW outcomes AS
WITH typed AS (
    SELECT schema, time, request_id, item_id ->> '$' AS item_id, event,
        CASE WHEN json_type(value) IN ('DOUBLE', 'BIGINT', 'UBIGINT')
             THEN CAST(value AS DOUBLE) END AS value,
        CAST(nullif(value, 'null') AS VARCHAR) AS given
    FROM outcome_lines WHERE request_id IS NOT NULL
)
SELECT schema, CAST(time AS TIMESTAMP) AS time, request_id, item_id, event, value,
    CASE WHEN event = '{LABEL_EVENT}' OR value IS NULL THEN given END AS label
FROM typed
QUALIFY row_number() OVER (
    PARTITION BY request_id, item_id, event ORDER BY typed.time, typed.value, typed.given
) = 1;

CREATE VIEW answered_outcomes AS
WITH joined AS (
    SELECT o.*, p.user_id, p.model, p.version, p.release, p.experiment, p.arm, p.response,
        p.prediction, p.confidence, p.probabilities, p."interval",
        position_of(p.response, p.entries, p.prediction, o.item_id) AS position
    FROM outcomes o JOIN predictions p ON p.request_id = o.request_id AND p.role = 'answer'
)
SELECT time, request_id, item_id, event, value, user_id, model, version, release, experiment, arm,
    position, label, response,
    CAST(entry_part(response, prediction, prediction, position) AS VARCHAR) AS prediction,
    CAST(entry_part(response, prediction, confidence, position) AS DOUBLE) AS confidence,
    CAST(entry_part(response, prediction, probabilities, position) AS VARCHAR) AS probabilities,
    CAST(entry_part(response, prediction, "interval", position) AS DOUBLE[]) AS "interval"
FROM joined;
"""  # noqa: S608 (own names)


class LogCounts(Struct, frozen=True, kw_only=True):
    """How many lines the log holds; `torn` lines were cut while being written (one per file).

    A torn line counts whether it still ends its segment or was moved away by the repair.
    """

    prediction_lines: int
    outcome_lines: int
    torn_lines: int


class Log(Struct, frozen=True, kw_only=True):
    """An open log: a DuckDB connection that has the views, and the counts of its lines."""

    connection: "duckdb.DuckDBPyConnection"
    counts: LogCounts


@contextmanager
def open_log(var: Path) -> Iterator[Log]:
    """Open the logs under `var` (the folder that holds `log/`) as DuckDB views.

    A folder without segments is an empty table; a line cut short at the end of a segment (its
    writer was killed) is left out and counted.

    Raises:
        DataError: a line elsewhere is damaged, or has another record format, or reading a segment
            failed twice in a row.
    """
    import duckdb

    try:
        log = _opened(var)
    except (duckdb.IOException, FileNotFoundError):
        # Retention deletes segments meanwhile; those that are left are the log.
        try:
            log = _opened(var)
        except (duckdb.IOException, FileNotFoundError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"{var}: a segment cannot be read ({reason}); try again.") from error
    try:
        yield log
    finally:
        log.connection.close()


def check_schema(segment: Path, schema: int | None) -> None:
    """Refuse a record of a newer schema, whose fields may mean something else; older ones are read.

    Raises:
        DataError: the schema is newer than this version's.
    """
    if schema is not None and schema > RECORD_SCHEMA:
        raise DataError(
            f"{segment}: record schema {schema} is newer than {RECORD_SCHEMA}, the newest this "
            "version reads; upgrade marloft."
        )


def _opened(var: Path) -> Log:
    import duckdb

    connection = duckdb.connect()
    try:
        torn = 0
        lines = []
        for table, folder, columns, required in (
            ("prediction_lines", PREDICTIONS_FOLDER, _PREDICTION_COLUMNS, _PREDICTION_REQUIRED),
            ("outcome_lines", OUTCOMES_FOLDER, _OUTCOME_COLUMNS, _OUTCOME_REQUIRED),
        ):
            sizes = {str(f): f.stat().st_size for f in segments(var / folder)}
            connection.execute(_view_of_lines(table, list(sizes), columns))
            count, bad = _check_lines(connection, table, required, sizes)
            lines.append(count)
            torn += bad + sum(torn_path(Path(file)).exists() for file in sizes)
        connection.execute(_VIEWS)
    except BaseException:
        connection.close()
        raise
    counts = LogCounts(prediction_lines=lines[0], outcome_lines=lines[1], torn_lines=torn)
    return Log(connection=connection, counts=counts)


def _view_of_lines(table: str, files: list[str], columns: dict[str, str]) -> str:
    if not files:
        typed = ", ".join(f'CAST(NULL AS {kind}) AS "{name}"' for name, kind in columns.items())
        return f"CREATE VIEW {table} AS SELECT {typed}, '' AS filename WHERE false"
    names = ", ".join(_quoted(file) for file in files)
    typed = ", ".join(f"{_quoted(name)}: {_quoted(kind)}" for name, kind in columns.items())
    return (
        f"CREATE VIEW {table} AS SELECT * FROM read_json([{names}], format='newline_delimited', "  # noqa: S608 (names are quoted)
        f"columns={{{typed}}}, ignore_errors=true, filename=true, "
        f"maximum_object_size={_LARGEST_LINE_BYTES})"
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _check_lines(
    connection: "duckdb.DuckDBPyConnection",
    table: str,
    required: tuple[str, ...],
    sizes: dict[str, int],
) -> tuple[int, int]:
    """Return (good lines, torn lines); DuckDB reads a line that is not JSON as a row of nulls."""
    damaged = " OR ".join(f"{column} IS NULL" for column in required)
    rows = connection.execute(
        f"SELECT filename, count(*) FILTER (WHERE NOT ({damaged})), "  # noqa: S608 (own names)
        f"count(*) FILTER (WHERE {damaged}), max(schema) FROM {table} GROUP BY filename"
    ).fetchall()
    for name, _, bad, schema in rows:
        if bad > (1 if _may_be_torn(Path(name), sizes[name]) else 0):
            raise DataError(
                f"{name}: {bad} lines are not records of marloft (only a last line that was cut "
                "short is tolerated); move the file out of the log folder, or repair it."
            )
        check_schema(Path(name), schema)
    return sum(row[1] for row in rows), sum(row[2] for row in rows)


def _may_be_torn(path: Path, size_before: int) -> bool:
    """Return whether the last line was cut short, or was still being written while it was read."""
    with path.open("rb") as stream:
        if stream.seek(0, 2) != size_before:
            return True
        stream.seek(-1, 2)
        return stream.read(1) != b"\n"
