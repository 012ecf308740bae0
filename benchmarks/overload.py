"""Part B of `benchmarks.hostile`: an open loop at three times the peak, beside a roll-out."""

import json
import random
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import httpx2

from benchmarks.hostile_rows import NEIGHBOUR_RATIO, Load, Overload
from harness import gateway_histogram
from harness.driver import Driver, SentRequest
from harness.h2load import SentLoad, percentile_ms, send_load
from harness.health_watch import HealthWatch
from harness.ranker_serving import RankerServing
from marloft.contract.metric_names import GATEWAY_REFUSAL

AT_3X = "3 x peak"
_CLOSED = (16, 64)
# Seconds a closed loop, and how often each is run before the overload and after it.
_PEAK_S, _REPEATS = 10, 2
_CANDIDATES = 50
_WARM_UP_S, _OVERLOAD_S, _AFTER_S = 10, 60, 10.0
_QUICK_S = 5
# Enough that all connections never wait at once while refusals take 100 ms.
_CONNECTIONS = 500
_NORMAL_RATE = 50.0
# No user: requests of one user would all be one arm's.
BODY = json.dumps({"features": [{"item_id": 1 + n} for n in range(_CANDIDATES)]}).encode()


def run(
    serving: RankerServing, say: Callable[[str], None], *, quick: bool
) -> Iterator[Load | Overload]:
    """Find the peak, send three times as much, and yield what was seen.

    The peak is found before and after: on a machine whose speed drifts one of the two alone would
    make the ratio, and the best of several runs is luck.
    """
    url = f"{serving.gateway}/predict"
    overload_s = _QUICK_S if quick else _OVERLOAD_S
    serving.begin_rollout("2.1")
    warm_up_s = _QUICK_S if quick else _WARM_UP_S
    send_load(url, BODY, seconds=warm_up_s, connections=_CLOSED[-1])
    closed = list(_closed_loops(url, say, quick=quick))
    normal = _p50_ms(_normal(serving, _AFTER_S / 2))
    before, rate, earlier = serving.live(), 3 * peak_per_s(closed), _refusals(serving)
    with HealthWatch(serving.gateway) as health, _Sampler(url) as sampler:
        sent = send_load(url, BODY, seconds=overload_s, connections=_CONNECTIONS, rate=rate)
    after = _normal(serving, _AFTER_S)
    refused_us = gateway_histogram.percentile(earlier, _refusals(serving), 0.99)
    row = _load(AT_3X, _CONNECTIONS, sent, rate)
    say(f"{row.load}: {row.goodput_per_s:.0f}/s of {row.sent_per_s:.0f}/s")
    closed += _closed_loops(url, say, quick=quick)
    yield from closed
    yield row
    peak = peak_per_s(closed)
    yield Overload(
        peak_per_s=round(peak, 1),
        goodput_at_3x=round(row.goodput_per_s / peak, 3),
        gateway_refusal_p99_ms=None if refused_us is None else refused_us / 1e3,
        health_asked=len(health.answers),
        health_false_alarms=health.false_alarms,
        releases_written=serving.live() - before,
        sampled_refusals=sampler.refusals,
        bare_refusals=sampler.bare,
        normal_p50_ms=round(normal, 2),
        back_to_normal_s=back_to_normal_s(after, normal),
    )


def peak_per_s(closed: Sequence[Load]) -> float:
    """Return the mean goodput of the number of connections that has the largest."""
    loads = {row.load for row in closed}
    return max(
        statistics.fmean(r.goodput_per_s for r in closed if r.load == load) for load in loads
    )


def _closed_loops(url: str, say: Callable[[str], None], *, quick: bool) -> Iterator[Load]:
    """Run each closed loop, in random order."""
    seconds, repeats = (_QUICK_S, 1) if quick else (_PEAK_S, _REPEATS)
    for connections in random.sample(_CLOSED * repeats, len(_CLOSED) * repeats):
        sent = send_load(url, BODY, seconds=seconds, connections=connections)
        row = _load(f"closed loop, {connections}", connections, sent, 0.0)
        say(f"{row.load}: {row.goodput_per_s:.0f}/s")
        yield row


def back_to_normal_s(sent: Sequence[SentRequest], normal_ms: float) -> float | None:
    """Return after how many seconds every second's median is normal, None when the last is not.

    A request that failed takes for ever.
    """
    last = 0
    seconds = int(max(each.sent_s for each in sent)) + 1
    for second in range(seconds):
        own = [each for each in sent if int(each.sent_s) == second]
        if own and _p50_ms(own) > NEIGHBOUR_RATIO * normal_ms:
            last = second + 1
    return None if last == seconds else float(last)


def _refusals(serving: RankerServing) -> gateway_histogram.Buckets:
    return gateway_histogram.read_buckets(serving.ports.envoy_admin, GATEWAY_REFUSAL)


def _normal(serving: RankerServing, seconds: float) -> list[SentRequest]:
    items = [1 + n for n in range(_CANDIDATES)]
    with Driver(serving.gateway, _NORMAL_RATE, items=items, threads=16, timeout_s=30) as driver:
        time.sleep(seconds)
    return driver.sent


def _p50_ms(sent: Sequence[SentRequest]) -> float:
    took = sorted(each.took_s if each.status == 200 else float("inf") for each in sent)
    return took[len(took) // 2] * 1e3


def _load(name: str, connections: int, sent: SentLoad, offered_per_s: float) -> Load:
    good, refused = sent.took_ms[sent.good], sent.took_ms[sent.refused]
    return Load(
        load=name,
        seconds=sent.seconds,
        connections=connections,
        offered_per_s=round(offered_per_s, 1),
        sent_per_s=round((sent.status.size + sent.unanswered) / sent.seconds, 1),
        goodput_per_s=round(good.size / sent.seconds, 1),
        refused=int(refused.size),
        failed=int(sent.status.size - good.size - refused.size),
        unanswered=sent.unanswered,
        good_p50_ms=percentile_ms(good, 50),
        good_p99_ms=percentile_ms(good, 99),
        refusal_p50_ms=percentile_ms(refused, 50),
        refusal_p99_ms=percentile_ms(refused, 99),
        generator_cores=sent.cores,
    )


class _Sampler:
    """Sends a request now and then and looks whether a refusal says when to come back."""

    def __init__(self, url: str) -> None:
        self._url, self._stop = url, threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self.refusals = self.bare = 0

    def __enter__(self) -> "_Sampler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _sample(self) -> None:
        headers = {"content-type": "application/json"}
        with httpx2.Client(timeout=30, headers=headers) as client:
            while not self._stop.wait(0.5):
                try:
                    answer = client.post(self._url, content=BODY)
                except httpx2.HTTPError:
                    continue
                if answer.status_code in (429, 503):
                    self.refusals += 1
                    self.bare += "retry-after" not in answer.headers
