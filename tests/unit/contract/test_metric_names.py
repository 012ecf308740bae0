"""Names that Prometheus takes, each for one thing, and buckets in their order."""

import re

from marloft.contract import metric_names

NAMES = {key: value for key, value in vars(metric_names).items() if isinstance(value, str)}
EXPOSED = {
    value
    for key, value in NAMES.items()
    if not key.startswith("__") and value.startswith(("marloft_", "envoy_"))
}


def test_names_are_those_of_prometheus() -> None:
    assert len(EXPOSED) > 20
    assert [name for name in EXPOSED if not re.fullmatch("[a-z][a-z0-9_]*", name)] == []


def test_counters_of_ours_end_in_total() -> None:
    counters = {"requests", "errors", "log_bytes", "log_failures", "log_dropped_records"}
    assert {f"marloft_{name}_total" for name in counters} <= EXPOSED


def test_gateways_names_are_its_prefix_and_statistic() -> None:
    prefix = f"envoy_{metric_names.GATEWAY_STAT_PREFIX}"
    assert f"{prefix}_{metric_names.GATEWAY_LATENCY_STAT}" == metric_names.GATEWAY_LATENCY
    assert f"{prefix}_{metric_names.GATEWAY_REFUSAL_STAT}" == metric_names.GATEWAY_REFUSAL
    assert f"{prefix}_{metric_names.GATEWAY_REQUESTS_STAT}" == metric_names.GATEWAY_REQUESTS
    assert f"{prefix}_{metric_names.GATEWAY_IN_FLIGHT_STAT}" == metric_names.GATEWAY_IN_FLIGHT


def test_buckets_ascend() -> None:
    for buckets in (
        metric_names.GATEWAY_LATENCY_BUCKETS_US,
        metric_names.STAGE_BUCKETS_S,
        metric_names.BATCH_SIZE_BUCKETS,
    ):
        assert list(buckets) == sorted(set(buckets))
