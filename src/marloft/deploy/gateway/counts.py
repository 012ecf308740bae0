"""Reads what the gateway counted since the last look, by model, version, experiment and arm."""

import bisect
import operator
from collections import Counter
from collections.abc import Callable, Mapping

import httpx2
from msgspec import Struct
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from marloft.contract.metric_names import (
    GATEWAY_LATENCY,
    GATEWAY_LATENCY_BUCKETS_US,
    GATEWAY_REQUESTS,
    GATEWAY_STAT_PREFIX,
)
from marloft.contract.request_end import End, end_of
from marloft.errors import ServingError

_PATH = f"/stats/prometheus?filter=^{GATEWAY_STAT_PREFIX}"
_BOUNDS = (*map(str, GATEWAY_LATENCY_BUCKETS_US), "+Inf")
# A p99 above a limit means that more than this share of requests was slower.
SLOW_SHARE = 0.01


class Traffic(Struct, frozen=True, kw_only=True):
    """What the gateway counted for one version in some span of time, by who did it.

    `answered` counts what the version answered itself, with any status, and what it kept until
    the limit; `errors` those of them with a 5xx. `refused` counts requests of which more came than
    could be answered; `excluded` those that ended through nothing that the version did (`End`).
    `latency` are the answers in each bucket of the gateway's histogram; the last one is beyond all
    bounds, and has what was kept until the limit too.
    """

    answered: int = 0
    errors: int = 0
    refused: int = 0
    excluded: int = 0
    latency: tuple[int, ...] = (0,) * len(_BOUNDS)

    def __add__(self, other: "Traffic") -> "Traffic":
        return _each(operator.add, self, other)

    @property
    def offered(self) -> int:
        """All requests that came for the version."""
        return self.answered + self.refused + self.excluded

    def blamed(self) -> "Traffic":
        """Return the same with what was refused as the version's own failures."""
        taken, failed = self.answered + self.refused, self.errors + self.refused
        return replace(self, answered=taken, errors=failed, refused=0)

    def untimed(self) -> "Traffic":
        """Return the same without its latency."""
        return replace(self, latency=Traffic().latency)

    @property
    def timed(self) -> int:
        """Requests in the histogram, which the gateway may refresh later than its counters."""
        return sum(self.latency)

    def slower(self, limit_ms: float) -> int:
        """Return how many requests took longer than `limit_ms`, a bound of the histogram."""
        return sum(self.latency[bisect.bisect_right(GATEWAY_LATENCY_BUCKETS_US, limit_ms * 1e3) :])

    @property
    def p99_ms(self) -> float | None:
        """The 99th percentile, interpolated within its bucket as Prometheus does it.

        None without requests. Beyond the last bound it is that bound.
        """
        rank, below = (1 - SLOW_SHARE) * self.timed, 0
        for place, count in enumerate(self.latency[:-1]):
            if count and below + count >= rank:
                low = GATEWAY_LATENCY_BUCKETS_US[place - 1] if place else 0
                width = GATEWAY_LATENCY_BUCKETS_US[place] - low
                return (low + width * (rank - below) / count) / 1e3
            below += count
        return GATEWAY_LATENCY_BUCKETS_US[-1] / 1e3 if self.timed else None


class Series(Struct, frozen=True, kw_only=True):
    """Whose requests are counted; `experiment` and `arm` are empty outside an allocation."""

    model: str
    version: str
    experiment: str = ""
    arm: str = ""


class GatewayCounts:
    """Follows Envoy's counters; each `read_new` returns what was added since the last one."""

    def __init__(self, admin_port: int) -> None:
        """Read from Envoy's admin interface on loopback."""
        self._admin = httpx2.Client(base_url=f"http://127.0.0.1:{admin_port}", timeout=5)
        self._before: dict[Series, Traffic] | None = None

    def close(self) -> None:
        """Close the connection."""
        self._admin.close()

    def reset(self) -> None:
        """Leave out what is counted until the next `read_new`."""
        self._before = None

    def read_new(self) -> dict[Series, Traffic] | None:
        """Return the additions; the first call only notes where they stand and returns None.

        A counter below its last value has begun from 0 again with Envoy: all of it is new.

        Raises:
            ServingError: Envoy does not answer.
        """
        try:
            text = self._admin.get(_PATH).raise_for_status().text
        except httpx2.HTTPError as error:
            raise ServingError(f"Envoy's admin interface does not give its counts: {error}.") from (
                error
            )
        now = parse_counts(text)
        before, self._before = self._before, now
        if before is None:
            return None
        return {key: increase(before.get(key, Traffic()), seen) for key, seen in now.items()}


def parse_counts(text: str) -> dict[Series, Traffic]:
    """Return the totals in Envoy's answer, in Prometheus' text format."""
    ends: dict[Series, Counter[End]] = {}
    buckets: dict[Series, dict[str, int]] = {}
    for family in text_string_to_metric_families(text):
        for name, labels, value, *_ in family.samples:
            key = _series(labels)
            # The parser adds `_total` to a counter's samples.
            if family.name == GATEWAY_REQUESTS:
                ends.setdefault(key, Counter())[end_of(labels)] += int(value)
            elif name == f"{GATEWAY_LATENCY}_bucket":
                buckets.setdefault(key, {})[labels["le"]] = int(value)
    return {
        key: _traffic(ends.get(key, Counter()), _per_bucket(buckets.get(key, {})))
        for key in ends.keys() | buckets.keys()
    }


def increase(before: Traffic, now: Traffic) -> Traffic:
    """Return what was added between two totals of one series."""
    added = _each(operator.sub, now, before)
    counts = (added.answered, added.errors, added.refused, added.excluded, *added.latency)
    return now if min(counts) < 0 else added


def _each(operation: Callable[[int, int], int], left: Traffic, right: Traffic) -> Traffic:
    return Traffic(
        answered=operation(left.answered, right.answered),
        errors=operation(left.errors, right.errors),
        refused=operation(left.refused, right.refused),
        excluded=operation(left.excluded, right.excluded),
        latency=tuple(map(operation, left.latency, right.latency)),
    )


def _traffic(ends: Mapping[End, int], latency: tuple[int, ...]) -> Traffic:
    unanswered, failed = ends.get("unanswered", 0), ends.get("failed", 0)
    return Traffic(
        answered=ends.get("answered", 0) + failed + unanswered,
        errors=failed + unanswered,
        refused=ends.get("refused", 0),
        excluded=ends.get("excluded", 0),
        latency=(*latency[:-1], latency[-1] + unanswered),
    )


def _series(labels: Mapping[str, str]) -> Series:
    return Series(
        model=labels.get("model", ""),
        version=labels.get("version", ""),
        experiment=labels.get("experiment", ""),
        arm=labels.get("arm", ""),
    )


def _per_bucket(cumulative: Mapping[str, int]) -> tuple[int, ...]:
    totals = [cumulative.get(bound, 0) for bound in _BOUNDS]
    return tuple(now - before for before, now in zip([0, *totals], totals, strict=False))
