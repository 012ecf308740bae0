"""Log records: read back as they were written, those of before a field was added too."""

from typing import Any

import msgspec
import pytest

from marloft.contract.records import (
    OUTCOMES_FOLDER,
    PREDICTIONS_FOLDER,
    RECORD_SCHEMA,
    OutcomeRecord,
    PredictionRecord,
    outcome_schema,
)

OUTCOME = OutcomeRecord(time="t", request_id="a", item_id="film-50", event="click", value=None)
PREDICTION = PredictionRecord(
    time="2026-01-01T00:00:00+00:00",
    request_id="a",
    attempt=1,
    role="answer",
    status=200,
    user_id="7",
    model="ranker",
    version="1.0",
    intended_version=None,
    archive_sha256=None,
    release=None,
    experiment=None,
    arm=None,
    propensity=None,
    features=msgspec.Raw(b'[{"item_id":50}]'),
    prediction=[50],
    scores=[0.5],
    queue_ms=None,
    predict_ms=0.2,
    latency_ms=1.5,
    stages={"admit": 0.1},
    error=None,
    extra={"unknown_items": 0},
)


@pytest.mark.parametrize("record", [PREDICTION, OUTCOME])
def test_record_is_one_line_that_reads_back(record: Any) -> None:
    line = msgspec.json.encode(record)
    assert b"\n" not in line
    found = msgspec.json.decode(line, type=type(record))
    assert found == record
    assert found.schema == 1


def test_features_are_logged_as_they_were_sent() -> None:
    odd = msgspec.structs.replace(PREDICTION, features=msgspec.Raw(b'[{"item_id": 5e1}]'))
    assert b'"features":[{"item_id": 5e1}]' in msgspec.json.encode(odd)


def test_record_of_before_stages_were_written_is_read() -> None:
    older = msgspec.json.decode(msgspec.json.encode(PREDICTION))
    del older["stages"]
    found = msgspec.json.decode(msgspec.json.encode(older), type=PredictionRecord)
    assert found == msgspec.structs.replace(PREDICTION, stages=None)


def test_field_of_a_newer_writer_is_passed_over() -> None:
    line = msgspec.json.encode(msgspec.to_builtins(OUTCOME) | {"colour": "red"})
    assert msgspec.json.decode(line, type=OutcomeRecord) == OUTCOME


@pytest.mark.parametrize(
    ("item_id", "value", "schema"),
    [(1, None, 1), ("a", 2.5, 1), (0, 3, 1), (None, 1.0, 2), (0, "benign", 2), (0, True, 2)],
)
def test_outcome_that_older_readers_would_misread_is_of_a_newer_schema(
    item_id: Any, value: Any, schema: int
) -> None:
    assert outcome_schema(item_id, value) == schema <= RECORD_SCHEMA


def test_logs_lie_in_folders_of_their_own() -> None:
    assert PREDICTIONS_FOLDER != OUTCOMES_FOLDER
    assert not PREDICTIONS_FOLDER.is_absolute()
