"""What of a record is logged: no more than the policy says, and the rest as the client sent it."""

from typing import Any

import msgspec
import pytest
import xxhash

from marloft.contract.policy import LogPolicy
from marloft.serving.redaction import keeps_features, reduced
from tests.unit.serving.writing import prediction

ROWS = [{"item_id": 50, "age": 31.50}, {"item_id": 3, "age": None, "zip": "8001"}]


def features(**policy: Any) -> Any:
    (record,) = reduced([prediction("r-1", ROWS)], LogPolicy(**policy))
    return msgspec.json.decode(record.features)


def test_redacted_fields_have_no_value_and_the_others_the_clients_bytes() -> None:
    assert features(redact=["age", "zip", "absent"]) == [
        {"item_id": 50, "age": "[redacted]"},
        {"item_id": 3, "age": "[redacted]", "zip": "[redacted]"},
    ]
    raw = msgspec.Raw(b'[{"item_id": 1.50, "age": 3}]')
    record = msgspec.structs.replace(prediction("r-1"), features=raw)
    (kept,) = reduced([record], LogPolicy(redact=["age"]))
    assert bytes(kept.features) == b'[{"item_id":1.50,"age":"[redacted]"}]'


def test_redaction_leaves_a_body_that_could_not_be_read_alone() -> None:
    (record,) = reduced([prediction("r-1", None)], LogPolicy(redact=["age"]))
    assert bytes(record.features) == b"null"


def test_records_pass_untouched_when_nothing_is_left_out() -> None:
    records = [prediction("r-1", ROWS)]
    assert reduced(records, LogPolicy()) is records


def test_share_keeps_every_record_and_the_features_of_some() -> None:
    records = [prediction(f"r-{n}", ROWS) for n in range(2000)]
    kept = reduced(records, LogPolicy(features_share=0.25))
    assert [record.request_id for record in kept] == [record.request_id for record in records]
    with_features = sum(bytes(record.features) != b"null" for record in kept)
    # Binomial(2000, 0.25) has a standard deviation of 19.4.
    assert 400 < with_features < 600


def test_share_is_decided_by_the_id_alone_and_not_as_arms_are() -> None:
    ids = [f"r-{n}" for n in range(1000)]
    kept = {each for each in ids if keeps_features(each, 0.5)}
    assert kept == {each for each in ids if xxhash.xxh64_intdigest(each.encode(), seed=1) < 2**63}
    assert not any(keeps_features(each, 0.0) for each in ids)
    assert all(keeps_features(each, 1.0) for each in ids)
    unseeded = {each for each in ids if xxhash.xxh64_intdigest(each.encode()) < 2**63}
    assert 0.4 < len(kept & unseeded) / len(unseeded) < 0.6


def test_user_id_cannot_be_redacted() -> None:
    with pytest.raises(msgspec.ValidationError, match="user_id, which is not a feature"):
        msgspec.convert({"redact": ["age", "user_id"]}, LogPolicy)


def test_redaction_covers_parameters() -> None:
    asked = msgspec.structs.replace(
        prediction("r-1", ROWS), parameters={"language": "de", "top_k": 5}
    )
    (record,) = reduced([asked], LogPolicy(redact=["language"]))
    assert record.parameters == {"language": "[redacted]", "top_k": 5}
    (untouched,) = reduced([asked], LogPolicy(features_share=0.0))
    assert untouched.parameters == asked.parameters
    (none,) = reduced([prediction("r-1", ROWS)], LogPolicy(redact=["language"]))
    assert b"parameters" not in msgspec.json.encode(none)
