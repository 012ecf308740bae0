"""What the gateway's own histograms say of a span of time: percentiles between two readings."""

import math
from collections import Counter

import httpx2
from prometheus_client.parser import text_string_to_metric_families

Buckets = Counter[float]


def read_buckets(admin_port: int, name: str) -> Buckets:
    """Return the cumulative count of each bucket by its upper bound, over all labels.

    Args:
        admin_port: of Envoy's admin interface on loopback.
        name: of the histogram, as Prometheus has it.
    """
    url = f"http://127.0.0.1:{admin_port}/stats/prometheus"
    found: Buckets = Counter()
    for family in text_string_to_metric_families(httpx2.get(url, timeout=10).text):
        for sample in family.samples:
            if sample.name == f"{name}_bucket":
                found[float(sample.labels["le"])] += int(sample.value)
    return found


def percentile(before: Buckets, after: Buckets, share: float) -> float | None:
    """Return the bound of the bucket that holds a percentile of what came in between.

    None when nothing came, infinity beyond the last bound.
    """
    counts = {bound: after[bound] - before[bound] for bound in sorted(after)}
    total = counts.get(math.inf, 0)
    if total == 0:
        return None
    return next(bound for bound, count in counts.items() if count >= share * total)
