"""The two kinds of log records, one JSON line each."""

from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

# The newest that this version reads.
RECORD_SCHEMA = 2
# What a record has that holds nothing new: versions that know only this one read it.
_FIRST_SCHEMA = 1
# Below the state folder; each process appends to a segment of its own there.
PREDICTIONS_FOLDER = Path("log/predictions")
OUTCOMES_FOLDER = Path("log/outcomes")


class PredictionRecord(Struct, frozen=True, kw_only=True, gc=False):
    """One attempt to answer one request, written by the worker before the answer leaves.

    `version` is the version that ran; `intended_version` the one the gateway meant (None when no
    gateway was involved). Times are UTC ISO 8601, durations in ms. `features` is the JSON the
    client sent, `null` for a body that could not be read; of a body that is not JSON its content
    type, size and SHA-256. `attempt` counts the gateway's tries from 1.

    `latency_ms` runs from the last byte of the request at the gateway until the answer is ready,
    `queue_ms` from that byte to the worker; without a gateway the first begins at the worker and
    the other is None. `predict_ms` is this request's part (by rows) of the model's time. `stages`
    are what it waited for inside the worker, in ms: `admit` (read, checked, decoded), `predict`
    (the run of the whole batch), `compose` (encoded); a stage that was not reached is absent. None
    in records from before stages were written.

    `response` is the type that the archive declares, absent when it declares none; with it come
    `entries`, how many the prediction has (ids of a ranking, rows, or 1), and those of
    `confidence`, `probabilities` and `interval` that the answer has.

    `parameters` are what the model was asked with beside the rows, defaults filled in; absent where
    the archive declares none, or the request could not be read.

    A field that is added with a default keeps the schema's number: readers of this version read
    older records, older readers ignore it. Only a change of meaning raises RECORD_SCHEMA.
    """

    schema: int = _FIRST_SCHEMA
    time: str
    request_id: str
    attempt: int
    role: Literal["answer", "shadow"]
    status: int
    user_id: str | None
    model: str
    version: str
    intended_version: str | None
    archive_sha256: str | None
    release: int | None
    experiment: str | None
    arm: str | None
    propensity: float | None
    features: msgspec.Raw
    prediction: Any
    scores: list[float] | None
    queue_ms: float | None
    predict_ms: float | None
    latency_ms: float
    stages: dict[str, float] | None = None
    error: str | None
    extra: dict[str, Any] | None
    response: str | UnsetType = UNSET
    entries: int | UnsetType = UNSET
    confidence: Any = UNSET
    probabilities: Any = UNSET
    interval: Any = UNSET
    parameters: dict[str, Any] | UnsetType = UNSET


class OutcomeRecord(Struct, frozen=True, kw_only=True, gc=False):
    """What a user did with one item of one answer, or the truth about it; `event` says which.

    `item_id` is None for the answer as a whole. `schema` is 2 where a reader of schema 1 would
    misread the record: without an item, or with a `value` that is no number.
    """

    schema: int = _FIRST_SCHEMA
    time: str
    request_id: str
    item_id: int | str | None
    event: str
    value: float | int | str | bool | None


def outcome_schema(item_id: int | str | None, value: object) -> int:
    """Return the lowest schema that can say this of an item."""
    numeric = value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    return _FIRST_SCHEMA if item_id is not None and numeric else RECORD_SCHEMA
