"""A steady load at a share of capacity, and how fast the memory of the servers grows under it."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from msgspec import Struct

from harness.driver import Driver

SHARE_OF_CAPACITY = 0.7
SETTLE_S = 300.0
LIMIT_MB_PER_MIN = 1.0
_SAMPLE_EVERY_S = 5.0
_CAPACITY_S = 15.0
_FASTER_THAN_ANY = 100_000.0


class Served(Protocol):
    """Something that answers at `gateway` and whose memory can be read."""

    gateway: str

    def resident_mb(self) -> float:
        """Return the resident memory of all its processes, in MiB."""
        ...


class Soak(Struct, frozen=True, kw_only=True):
    """One soak: what was asked, what failed, and the memory's slope after `settle_s`.

    `slope_mb_per_min` is the least-squares slope of the resident memory of all processes.
    """

    seconds: float
    settle_s: float
    capacity_per_s: float
    rate_per_s: float
    requests: int
    failed: int
    first_mb: float
    last_mb: float
    slope_mb_per_min: float


def soak(
    served: Served,
    seconds: float,
    say: Callable[[str], None],
    *,
    settle_s: float = SETTLE_S,
    rate: float | None = None,
) -> Soak:
    """Drive at 70 % of capacity (or at `rate`) for `seconds` and return what was seen."""
    capacity = measured_capacity(served.gateway) if rate is None else rate / SHARE_OF_CAPACITY
    wanted = SHARE_OF_CAPACITY * capacity
    say(f"soak: capacity {capacity:.0f}/s, driving {wanted:.0f}/s for {seconds:.0f} s")
    samples: list[tuple[float, float]] = []
    stop = threading.Event()
    sampler = threading.Thread(target=_sample, args=(served, samples, stop))
    with drive(served.gateway, wanted) as driver:
        sampler.start()
        try:
            time.sleep(seconds)
        finally:
            stop.set()
            sampler.join()
    return Soak(
        seconds=seconds,
        settle_s=settle_s,
        capacity_per_s=round(capacity, 1),
        rate_per_s=round(len(driver.sent) / seconds, 1),
        requests=len(driver.sent),
        failed=sum(sent.status != 200 for sent in driver.sent),
        first_mb=round(samples[0][1], 1),
        last_mb=round(samples[-1][1], 1),
        slope_mb_per_min=round(slope_mb_per_min(samples, settle_s), 3),
    )


def measured_capacity(gateway: str) -> float:
    """Return the answers per second when every thread asks again at once (closed loop)."""
    with drive(gateway, _FASTER_THAN_ANY) as driver:
        time.sleep(_CAPACITY_S)
        answered = len(driver.sent)
    return answered / _CAPACITY_S


def drive(gateway: str, rate: float) -> Driver:
    """Return a driver that sends `rate` requests of three films a second, from 16 threads."""
    return Driver(gateway, rate, items=(50, 172, 29), threads=16, timeout_s=30)


def slope_mb_per_min(samples: Sequence[tuple[float, float]], settle_s: float) -> float:
    """Return the least-squares slope of (seconds, MiB) samples taken after `settle_s`.

    Raises:
        ValueError: fewer than 3 samples are left.
    """
    kept = np.array([(at, size) for at, size in samples if at >= settle_s])
    if len(kept) < 3:
        raise ValueError(f"{len(kept)} samples after {settle_s:g} s; a slope needs 3 at least")
    return float(np.polyfit(kept[:, 0] / 60.0, kept[:, 1], 1)[0])


def _sample(served: Served, samples: list[tuple[float, float]], stop: threading.Event) -> None:
    started = time.monotonic()
    while not stop.wait(_SAMPLE_EVERY_S):
        samples.append((time.monotonic() - started, served.resident_mb()))
