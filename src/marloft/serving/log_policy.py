"""What the newest release says about the log, and what is left out of a record for it."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import xxhash

from marloft.contract.policy import LogPolicy
from marloft.contract.records import PredictionRecord
from marloft.contract.release import newest_number, read_release, release_path, releases_folder
from marloft.errors import MarloftError

REDACTED = "[redacted]"
LOOK_S = 1.0
_NULL = msgspec.Raw(b"null")
_REDACTED = msgspec.Raw(msgspec.json.encode(REDACTED))
# Values stay the bytes that the client sent.
_rows = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
# Away from the buckets of experiments: whose features are kept must not depend on an arm.
_SHARE_SEED = 1
_logger = logging.getLogger(__name__)


class FollowedPolicy:
    """The policy of the newest release of a state folder, looked for at most once a second.

    Without a release, which is TorchServe by hand, the defaults hold. A release that cannot be
    read leaves the one before in force and is logged.
    """

    def __init__(self, var: Path) -> None:
        """Read the newest release there is."""
        self._folder = releases_folder(var)
        self._number = 0
        self._policy = LogPolicy()
        self._next_look_s = 0.0

    def __call__(self) -> LogPolicy:
        """Return the policy in force now."""
        now = time.monotonic()
        if now >= self._next_look_s:
            self._next_look_s = now + LOOK_S
            self._look()
        return self._policy

    def _look(self) -> None:
        # Releases are numbered without gaps, so that one look at the next file is enough.
        if self._number and not release_path(self._folder, self._number + 1).exists():
            return
        number = newest_number(self._folder)
        if number == self._number:
            return
        self._number = number
        try:
            self._policy = read_release(self._folder, number).log
        except MarloftError:
            _logger.exception("Release %s cannot be read; the log's policy stays.", number)


def reduced(records: Sequence[PredictionRecord], policy: LogPolicy) -> Sequence[PredictionRecord]:
    """Return the records with the features that the policy lets be logged.

    Outside of `features_share`, drawn by a hash of the request id, `features` is null; the values
    of the fields in `redact` are "[redacted]".
    """
    if not policy.redact and policy.features_share >= 1.0:
        return records
    return [
        msgspec.structs.replace(record, features=_features(record, policy)) for record in records
    ]


def keeps_features(request_id: str, share: float) -> bool:
    """Whether the features of a request are among the logged share, the same at each attempt."""
    return xxhash.xxh64_intdigest(request_id.encode(), seed=_SHARE_SEED) < share * 2.0**64


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
