"""How a deployment wants to be run: defaults that watch nothing, and values that are refused."""

from typing import Any

import msgspec
import pytest

from marloft.contract.policy import (
    Guardrails,
    LogPolicy,
    RequestLimits,
    RolloutPlan,
    TrustPolicy,
)


@pytest.mark.parametrize(
    "policy",
    [
        RolloutPlan(steps=[1, 5, 25, 50], hold_s=30.0, min_requests=10),
        Guardrails(error_ratio=0.01, p99_ms=100.0, ctr_drop=0.1, worker_restarts=2),
        LogPolicy(fsync="batch", redact=["age"], features_share=0.1, keep_days=30),
        TrustPolicy(signature="required", public_key="keys/marloft.pub", fairness="audited"),
    ],
)
def test_policy_reads_back_as_it_was_written(policy: Any) -> None:
    assert msgspec.yaml.decode(msgspec.yaml.encode(policy), type=type(policy)) == policy


@pytest.mark.parametrize(
    ("kind", "document", "message"),
    [
        (RolloutPlan, {"steps": [5, 1]}, "must ascend"),
        (RolloutPlan, {"steps": [5, 5]}, "must ascend"),
        (RolloutPlan, {"steps": []}, "length >= 1"),
        (RolloutPlan, {"steps": [100]}, "<= 99"),
        (RolloutPlan, {"steps": [0, 5]}, ">= 1"),
        (RolloutPlan, {"steps": [5], "hold_s": -1}, ">= 0"),
        (Guardrails, {"error_ratio": 0}, "> 0"),
        (Guardrails, {"ctr_drop": 1}, "< 1"),
        (Guardrails, {"p99_ms": 0}, "> 0"),
        (Guardrails, {"worker_restarts": 0}, ">= 1"),
        (Guardrails, {"p99": 100}, "unknown field `p99`"),
        (RequestLimits, {"requests_per_s": 0}, ">= 1"),
        (RequestLimits, {"per_client_per_s": -1}, ">= 1"),
        (RequestLimits, {"per_user_per_s": 1}, "unknown field `per_user_per_s`"),
        (LogPolicy, {"redact": ["user_id"]}, "redact names user_id"),
        (LogPolicy, {"features_share": 1.1}, "<= 1"),
        (LogPolicy, {"segment_mb": 0}, ">= 1"),
        (LogPolicy, {"fsync": "sometimes"}, "Invalid enum value"),
        (LogPolicy, {"disk_full": "hope"}, "Invalid enum value"),
        (TrustPolicy, {"signature": "maybe"}, "Invalid enum value"),
        (TrustPolicy, {"fairness": "unaudited"}, "Invalid enum value"),
    ],
)
def test_other_value_is_refused(kind: type[Any], document: dict[str, Any], message: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.convert(document, kind)


def test_nothing_is_watched_unless_it_is_asked_for() -> None:
    watched = msgspec.to_builtins(Guardrails())
    assert set(watched.values()) == {None}
