"""The exporter on port 9102: the workers' numbers merged, and the live quality of the answers."""

import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from marloft.contract import metric_names as names
from marloft.errors import ServingError
from marloft.files import private_folder
from marloft.monitoring.live import Group, LiveQuality, LiveSettings

WORKERS_FOLDER = Path("run/metrics")
_LABELS = ("model", "version", "experiment", "arm", "role", "window")
_LOOPBACK = "127.0.0.1"


class LiveCollector(Collector):
    """Turns the counts of the live window into gauges; a ratio without a denominator is absent."""

    def __init__(self, quality: LiveQuality) -> None:
        """Read through `quality`, one scrape at a time: two scrapers may ask at once."""
        self._quality = quality
        self._lock = threading.Lock()

    def collect(self) -> Iterable[Metric]:
        """Refresh and return the gauges."""
        with self._lock:
            started = time.perf_counter()
            found = self._quality.refresh()
            spent_s = time.perf_counter() - started
        window = f"{self._quality.settings.window_s:g}s"
        for ratio in _RATIOS:
            gauge = GaugeMetricFamily(ratio.name, ratio.text, labels=_LABELS)
            for group, counts in found.items():
                value = getattr(counts, ratio.attribute)
                if value is not None:
                    gauge.add_metric(_label_values(group, window), value)
            yield gauge
        yield GaugeMetricFamily(names.READ_SECONDS, "What this scrape's reading cost.", spent_s)
        yield CounterMetricFamily(
            names.DAMAGED_LINES, "Log lines that are not records.", self._quality.damaged_lines
        )
        yield CounterMetricFamily(
            names.SKIPPED_BYTES, "Log bytes that came too fast.", self._quality.skipped_bytes
        )


@contextmanager
def exporting(var: Path, port: int, settings: LiveSettings | None = None) -> Iterator[None]:
    """Serve `/metrics` on loopback from the files below `var` as long as the block lasts.

    Raises:
        ServingError: the port is taken.
    """
    workers = var / WORKERS_FOLDER
    private_folder(workers)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(workers))  # type: ignore[no-untyped-call]
    registry.register(LiveCollector(LiveQuality(var, settings)))
    try:
        server, thread = start_http_server(port, addr=_LOOPBACK, registry=registry)
    except OSError as error:
        raise ServingError(
            f"port {port} for the metrics is not usable ({error.strerror}); stop what holds it or "
            "shift all ports with `--port-offset 100`."
        ) from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Ratio(Struct, frozen=True, kw_only=True):
    name: str
    attribute: str
    text: str


_RATIOS = (
    _Ratio(name=names.ACCURACY, attribute="accuracy", text="Prediction and label agree."),
    _Ratio(name=names.PRECISION, attribute="precision", text="Positive, of those predicted so."),
    _Ratio(name=names.RECALL, attribute="recall", text="Predicted so, of those positive."),
    _Ratio(
        name=names.MEAN_ABSOLUTE_ERROR,
        attribute="mean_absolute_error",
        text="Distance of predicted numbers from true ones.",
    ),
    _Ratio(name=names.CTR, attribute="ctr", text="Clicked entries per shown entry."),
    _Ratio(name=names.CONVERSION, attribute="conversion", text="Answers with a conversion."),
    _Ratio(name=names.SHOWN_ITEMS, attribute="shown", text="Entries shown in the window."),
    _Ratio(name=names.ANSWERS, attribute="answers", text="Answers in the window."),
)


def _label_values(group: Group, window: str) -> list[str]:
    return [group.model, group.version, group.experiment, group.arm, group.role, window]
