"""What of a record's features is logged: those of a share of requests, without some fields."""

from collections.abc import Sequence
from typing import Any

import msgspec
import xxhash

from marloft.contract.policy import LogPolicy
from marloft.contract.records import PredictionRecord

REDACTED = "[redacted]"
_NULL = msgspec.Raw(b"null")
_REDACTED = msgspec.Raw(msgspec.json.encode(REDACTED))
# Values stay the bytes that the client sent.
_rows = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
# Not the buckets of experiments: whose features are kept must not depend on an arm.
_SHARE_SEED = 1


def reduced(records: Sequence[PredictionRecord], policy: LogPolicy) -> Sequence[PredictionRecord]:
    """Return the records with the features that the policy lets be logged.

    Outside of `features_share`, drawn by a hash of the request id, `features` is null; the values
    of the fields in `redact`, parameters too, are "[redacted]".
    """
    if not policy.redact and policy.features_share >= 1.0:
        return records
    return [
        msgspec.structs.replace(
            record,
            features=_features(record, policy),
            parameters=_parameters(record, policy),
        )
        for record in records
    ]


def keeps_features(request_id: str, share: float) -> bool:
    """Whether the features of a request are among the logged share, the same at each attempt."""
    return xxhash.xxh64_intdigest(request_id.encode(), seed=_SHARE_SEED) < share * 2.0**64


def _parameters(record: PredictionRecord, policy: LogPolicy) -> dict[str, Any] | msgspec.UnsetType:
    if record.parameters is msgspec.UNSET:
        return msgspec.UNSET
    return {
        name: REDACTED if name in policy.redact else value
        for name, value in record.parameters.items()
    }


def _features(record: PredictionRecord, policy: LogPolicy) -> msgspec.Raw:
    if not keeps_features(record.request_id, policy.features_share):
        return _NULL
    if not policy.redact or bytes(record.features) == b"null":
        return record.features
    rows: list[dict[str, Any]] = _rows.decode(record.features)
    for row in rows:
        for name in policy.redact:
            if name in row:
                row[name] = _REDACTED
    return msgspec.Raw(msgspec.json.encode(rows))
