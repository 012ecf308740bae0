"""Reads what the gateway counted since the last look, by model, version, experiment and arm."""

import bisect
import operator
from collections.abc import Mapping

import httpx2
from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families

from marloft.contract.metric_names import (
    GATEWAY_LATENCY,
    GATEWAY_LATENCY_BUCKETS_US,
    GATEWAY_REQUESTS,
    GATEWAY_STAT_PREFIX,
)
from marloft.errors import ServingError

_PATH = f"/stats/prometheus?filter=^{GATEWAY_STAT_PREFIX}"
# Envoy's code of a request whose client left before the answer.
_NO_ANSWER = "0"
_BOUNDS = (*map(str, GATEWAY_LATENCY_BUCKETS_US), "+Inf")
# A p99 above a limit means that more than this share of requests was slower.
SLOW_SHARE = 0.01


class Traffic(Struct, frozen=True, kw_only=True):
    """What the gateway counted for one version in some span of time.

    `answered` counts answers of any status, `errors` those with a 5xx; `latency` the requests in
    each bucket of the gateway's histogram, the last one beyond all bounds.
    """

    answered: int = 0
    errors: int = 0
    latency: tuple[int, ...] = (0,) * len(_BOUNDS)

    def __add__(self, other: "Traffic") -> "Traffic":
        return Traffic(
            answered=self.answered + other.answered,
            errors=self.errors + other.errors,
            latency=tuple(map(operator.add, self.latency, other.latency)),
        )

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

    def read_new(self) -> dict[Series, Traffic]:
        """Return the additions; the first call only notes where they stand.

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
            return {}
        return {key: increase(before.get(key, Traffic()), seen) for key, seen in now.items()}


def parse_counts(text: str) -> dict[Series, Traffic]:
    """Return the totals in Envoy's answer, in Prometheus' text format."""
    answers: dict[Series, list[int]] = {}
    buckets: dict[Series, dict[str, int]] = {}
    for family in text_string_to_metric_families(text):
        for name, labels, value, *_ in family.samples:
            key = _series(labels)
            # The parser adds `_total` to a counter's samples.
            if family.name == GATEWAY_REQUESTS and labels["code"] != _NO_ANSWER:
                counted = answers.setdefault(key, [0, 0])
                counted[0] += int(value)
                counted[1] += int(value) if labels["code"].startswith("5") else 0
            elif name == f"{GATEWAY_LATENCY}_bucket":
                buckets.setdefault(key, {})[labels["le"]] = int(value)
    return {
        key: Traffic(
            answered=answers.get(key, [0, 0])[0],
            errors=answers.get(key, [0, 0])[1],
            latency=_per_bucket(buckets.get(key, {})),
        )
        for key in answers.keys() | buckets.keys()
    }


def increase(before: Traffic, now: Traffic) -> Traffic:
    """Return what was added between two totals of one series."""
    latency = tuple(new - old for old, new in zip(before.latency, now.latency, strict=True))
    answered, errors = now.answered - before.answered, now.errors - before.errors
    if min(answered, errors, *latency) < 0:
        return now
    return Traffic(answered=answered, errors=errors, latency=latency)


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
