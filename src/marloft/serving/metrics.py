"""A worker's counters and histograms, in files that the exporter merges with the other workers'.

prometheus_client's multiprocess mode: with `$PROMETHEUS_MULTIPROC_DIR` set before the worker
starts, each value is a float in a memory-mapped file of this process, and counting makes no system
call. Without it the numbers stay in the worker. The mode is chosen when prometheus_client is
imported. https://prometheus.github.io/client_python/multiprocess/
"""

from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Histogram

from marloft.contract import metric_names as names
from marloft.serving.metric_files import use_reserved_files

if TYPE_CHECKING:
    from marloft.serving.exchange import Exchange, Response

_OWNER = ("model", "version")


class WorkerMetrics:
    """The numbers of one version in one worker; `registry` shows them inside this process."""

    def __init__(self, model: str, version: str) -> None:
        """Make the series that every version has; the others appear with their first event."""
        use_reserved_files()
        self.registry = CollectorRegistry()
        self._owner = (model, version)
        self._requests = self._counter(names.REQUESTS, "Requests by status class.", "status")
        self._errors = self._counter(names.ERRORS, "Requests not answered with 200.", "error")
        self._children: dict[tuple[Counter, str], Counter] = {}
        stages = Histogram(
            names.STAGE_SECONDS,
            "Time from the request's last byte at the gateway to the worker (queue), in the worker "
            "per batch (admit, predict, compose), and from that byte to the answer (total).",
            (*_OWNER, "stage"),
            buckets=names.STAGE_BUCKETS_S,
            registry=self.registry,
        )
        self._queue, self._admit, self._predict, self._compose, self._total = (
            stages.labels(model, version, stage)
            for stage in ("queue", "admit", "predict", "compose", "total")
        )
        self._batch_size = Histogram(
            names.BATCH_SIZE,
            "Requests that the worker got together.",
            _OWNER,
            buckets=names.BATCH_SIZE_BUCKETS,
            registry=self.registry,
        ).labels(model, version)
        self.log = LogMetrics(self.registry, model, version)
        # A rate needs a first value: an alert must see the first failure, not only the second.
        for status in ("2xx", "4xx", "5xx"):
            self._child(self._requests, status)

    def answered(self, batch: "Sequence[Exchange]", torchserve: Any = None) -> None:
        """Count a batch whose answers are composed and logged; probes and checks are left out.

        `queue` and `total` get a value per request; `admit`, `predict`, `compose` and the batch
        size one per batch.

        Args:
            batch: the exchanges of one call of `handle`.
            torchserve: TorchServe's own metrics cache, `context.metrics`, for failures.
        """
        traffic = [exchange for exchange in batch if exchange.received.route.is_traffic]
        if not traffic:
            return
        responses = [exchange.response for exchange in traffic]
        self._batch_size.observe(len(traffic))
        observe_all(self._total, [exchange.latency_ms / 1e3 for exchange in traffic])
        observe_all(
            self._queue,
            [
                max(0.0, received.received_s - received.route.arrived_s)
                for received in (exchange.received for exchange in traffic)
                if received.route.arrived_s is not None
            ],
        )
        self._admit.observe(sum(response.stages.get("admit", 0.0) for response in responses) / 1e3)
        predict_ms = sum(response.predict_ms or 0.0 for response in responses)
        if predict_ms:
            self._predict.observe(predict_ms / 1e3)
            self._compose.observe(sum(r.stages.get("compose", 0.0) for r in responses) / 1e3)
        self._count_statuses(responses)
        failed = sum(r.problem is not None and r.problem.status >= 500 for r in responses)
        if failed and torchserve is not None:
            self._count_at_torchserve(torchserve, failed)

    def _count_statuses(self, responses: "Sequence[Response]") -> None:
        for status, count in Tally(map(_status_class, responses)).items():
            self._child(self._requests, status).inc(count)
        for error, count in Tally(filter(None, map(_error_class, responses))).items():
            self._child(self._errors, error).inc(count)

    def _count_at_torchserve(self, torchserve: Any, failed: int) -> None:
        """Count failures at TorchServe's /metrics too, for those who run nothing else.

        It costs about 100 µs, so only what should not happen goes there; TorchServe itself counts
        the requests of each version, but errors of all versions together.
        """
        from ts.metrics.dimension import Dimension  # noqa: PLC0415 (exists in workers only)

        dimensions = [Dimension("ModelVersion", self._owner[1])]
        torchserve.add_counter(names.TORCHSERVE_FAILURES, failed, dimensions=dimensions)

    def _child(self, metric: Counter, value: str) -> Counter:
        found = self._children.get((metric, value))
        if found is None:
            found = self._children[metric, value] = metric.labels(*self._owner, value)
        return found

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, (*_OWNER, *labels), registry=self.registry)


class LogMetrics:
    """What one worker wrote to its log, and what it could not write."""

    def __init__(self, registry: CollectorRegistry, model: str, version: str) -> None:
        """Make the series; all are 0 until something happens."""
        use_reserved_files()

        def counter(name: str, text: str) -> Counter:
            return Counter(name, text, _OWNER, registry=registry).labels(model, version)

        self._bytes = counter(names.LOG_BYTES, "Bytes appended to the log.")
        self._failures = counter(
            names.LOG_FAILURES, "Batches whose records could not be appended to the log."
        )
        self._dropped = counter(
            names.LOG_DROPPED, "Requests answered without a record (disk_full: serve)."
        )

    def written(self, size_bytes: int) -> None:
        """Count what one batch added to the log."""
        self._bytes.inc(size_bytes)

    def failed(self, dropped: int = 0) -> None:
        """Count a batch that could not be logged, `dropped` of whose requests are answered."""
        self._failures.inc()
        self._dropped.inc(dropped)


def observe_all(histogram: Histogram, values: Sequence[float]) -> None:
    """Observe a batch's values at the cost of a few: one update per bucket that got any.

    It reaches into prometheus_client's parts (a test compares it with `observe`), since one
    `observe` per value made 8 of the 9 µs that a request of a batch of 32 cost.
    """
    if not values:
        return
    histogram._sum.inc(sum(values))
    bounds = histogram._upper_bounds
    for bucket, count in Tally(bisect_left(bounds, value) for value in values).items():
        histogram._buckets[bucket].inc(count)


def _status_class(response: "Response") -> str:
    return f"{response.problem.status // 100}xx" if response.problem else "2xx"


def _error_class(response: "Response") -> str | None:
    """Return the exception's class for a handler's failure, else the problem's title.

    Both come from code, never from a request, so that a client cannot make new series.
    """
    if response.problem is None:
        return None
    if response.error is not None:
        return response.error.partition(":")[0]
    return response.problem.title.lower().replace(" ", "_")
