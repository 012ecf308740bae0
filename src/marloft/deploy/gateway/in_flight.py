"""When a version may be removed: no route leads to it, and no request is on its way to it."""

import time
from collections.abc import Callable, Iterable

import httpx2
from prometheus_client.parser import text_string_to_metric_families

from marloft.contract.metric_names import GATEWAY_IN_FLIGHT
from marloft.contract.release import Key

# Longer than a request is between two tries (back-off of 2 s at most) or waits for a connection:
# only then it is counted nowhere.
SETTLE_S = 3.0


class InFlight:
    """Follows the gateway's count of tries under way, by version."""

    def __init__(self, admin_port: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Connect lazily to Envoy's admin interface on loopback."""
        base = f"http://127.0.0.1:{admin_port}"
        self._client = httpx2.Client(base_url=base, timeout=1)
        self._clock = clock
        self._changed_at = clock()
        self._longest_s = 0.0
        self._idle_since: dict[Key, float] = {}

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def routes_changed(self, longest_s: float) -> None:
        """Note that routes were written; `longest_s` is the most that an older request lasts."""
        self._longest_s = longest_s
        self.routes_pending()

    def routes_pending(self) -> None:
        """Note that older routes may still be in force: what they lead to drains from now on."""
        self._changed_at = self._clock()
        self._idle_since.clear()

    def drained(self, keys: Iterable[Key]) -> frozenset[Key]:
        """Return those of `keys` that had no request under way for `SETTLE_S`, at each look.

        Where the count stays above 0 or is unknown, time decides: the longest that a request of
        older routes can last.
        """
        asked = list(keys)
        if not asked:
            return frozenset()
        now = self._clock()
        is_over = now > self._changed_at + self._longest_s
        counts = self.counts()
        for key in asked:
            if counts is None or counts.get(key, 0) > 0:
                self._idle_since.pop(key, None)
            else:
                self._idle_since.setdefault(key, now)
        return frozenset(key for key in asked if is_over or self._is_idle(key, now))

    def counts(self) -> dict[Key, int] | None:
        """Return the tries under way by (model, version), None when Envoy does not answer."""
        try:
            answer = self._client.get("/stats/prometheus", params={"filter": "in_flight"})
            answer.raise_for_status()
        except httpx2.HTTPError:
            return None
        return {
            (sample.labels["model"], sample.labels["version"]): int(sample.value)
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
            if sample.name == GATEWAY_IN_FLIGHT
        }

    def _is_idle(self, key: Key, now: float) -> bool:
        since = self._idle_since.get(key)
        return since is not None and now - max(since, self._changed_at) >= SETTLE_S
