"""What a worker counts: every request once, under labels that no client can choose."""

import random
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Histogram

from harness import factories
from marloft.contract import metric_names as names
from marloft.serving.handler import runner_of
from marloft.serving.metrics import observe_all
from tests.unit.serving.driver import FAULT_IN_PREDICT, Sent, Server
from tests.unit.serving.writing import turn_into

GOOD = factories.body(7, [3, 1])
REFUSED = factories.body(7, ["x"])
FAILING = factories.body(7, [FAULT_IN_PREDICT])


def value(server: Server, name: str, **labels: str) -> float:
    registry = runner_of(server.handler)._metrics.registry
    found = registry.get_sample_value(name, {"model": "ranker", "version": "1.0", **labels})
    return 0.0 if found is None else found


def test_requests_are_counted_by_status_class(server: Server) -> None:
    server.ask(GOOD, GOOD, REFUSED, FAILING)
    server.ask(GOOD)
    counts = [value(server, names.REQUESTS, status=s) for s in ("2xx", "4xx", "5xx")]
    assert counts == [3, 1, 1]


def test_status_classes_are_there_before_the_first_request(server: Server) -> None:
    registry = runner_of(server.handler)._metrics.registry
    labels = {"model": "ranker", "version": "1.0", "status": "5xx"}
    assert registry.get_sample_value(names.REQUESTS, labels) == 0
    assert registry.get_sample_value(names.LOG_FAILURES, {"model": "ranker", "version": "1.0"}) == 0


def test_errors_are_counted_by_class(server: Server) -> None:
    server.ask(REFUSED, FAILING, b"{", factories.body(7, [3], model_version="9.0"))
    kinds = ("invalid_request", "RuntimeError", "bad_request", "unknown_model_version")
    assert [value(server, names.ERRORS, error=kind) for kind in kinds] == [1, 1, 1, 1]


def test_clients_text_makes_no_new_series(server: Server) -> None:
    def series() -> int:
        return sum(len(m.samples) for m in runner_of(server.handler)._metrics.registry.collect())

    server.ask(factories.body(7, ["a"], request_id="a"))
    before = series()
    for text in ("b", "c", "d"):
        server.ask(factories.body(text, [text], request_id=text))
    assert series() == before


def test_stages_are_observed_per_request_and_predict_per_batch(server: Server) -> None:
    headers = {"x-marloft": "release=1;version=1.0;t=1.5"}
    server.ask(*[Sent(body=GOOD, headers=headers)] * 4)
    server.ask(GOOD)
    counts = {
        stage: value(server, f"{names.STAGE_SECONDS}_count", stage=stage)
        for stage in ("queue", "predict", "total")
    }
    # The last one came without a gateway, so its time in the queue is unknown.
    assert counts == {"queue": 4, "predict": 2, "total": 5}
    assert value(server, f"{names.STAGE_SECONDS}_sum", stage="queue") > 1e9


def test_batch_size_is_observed_once_per_batch(server: Server) -> None:
    server.ask(*[GOOD] * 6)
    server.ask(GOOD)
    assert value(server, f"{names.BATCH_SIZE}_count") == 2
    assert value(server, f"{names.BATCH_SIZE}_sum") == 7


def test_log_bytes_are_those_of_the_segment(server: Server) -> None:
    server.ask(GOOD, REFUSED)
    server.ask(GOOD)
    size = sum(file.stat().st_size for file in server.log_folder.glob("*.jsonl"))
    assert value(server, names.LOG_BYTES) == size > 0


def test_batch_that_cannot_be_logged_is_counted(server: Server) -> None:
    turn_into(server.log, "/dev/full")
    server.ask(GOOD, GOOD)
    assert value(server, names.LOG_FAILURES) == 1
    assert value(server, names.REQUESTS, status="5xx") == 2
    assert value(server, names.ERRORS, error="prediction_log_unavailable") == 2


def test_probes_and_checks_are_not_counted(server: Server) -> None:
    server.ask(Sent(body=b"", headers={"x-marloft": "probe=1"}))
    server.ask(Sent(body=factories.body(7, [3]), headers={"x-marloft": "check=1"}))
    assert value(server, names.REQUESTS, status="2xx") == 0
    assert value(server, f"{names.BATCH_SIZE}_count") == 0


def test_torchserve_is_told_of_failures_by_version_and_of_nothing_else(server: Server) -> None:
    told: list[tuple[str, int, list[tuple[str, str]]]] = []

    class Cache:
        def add_counter(self, name: str, count: int, dimensions: list[Any]) -> None:
            told.append((name, count, [(each.name, each.value) for each in dimensions]))

    server.context.metrics = Cache()
    server.ask(GOOD, REFUSED)
    assert told == []
    server.ask(GOOD, FAILING, FAILING)
    assert told == [(names.TORCHSERVE_FAILURES, 2, [("ModelVersion", "1.0")])]


@pytest.mark.parametrize("seed", range(3))
def test_observe_all_is_observing_one_by_one(seed: int) -> None:
    draw = random.Random(seed)
    buckets = names.STAGE_BUCKETS_S
    values = [draw.lognormvariate(-5, 3) for _ in range(200)] + [0.0, buckets[3], 99.0]
    samples = []
    for observe in (observe_all, lambda h, vs: [h.observe(v) for v in vs]):
        registry = CollectorRegistry()
        observe(Histogram("a", "b", buckets=buckets, registry=registry), values)
        (metric,) = registry.collect()
        samples.append(
            {(s.name, s.labels.get("le")): s.value for s in metric.samples if s.name != "a_created"}
        )
    assert samples[0] == pytest.approx(samples[1])
