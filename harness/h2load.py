"""Thousands of requests per second from h2load, at a fraction of a core; every answer kept.

https://nghttp2.org/documentation/h2load.1.html
"""

import re
import resource
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from marloft.errors import ConfigError, StepError

_REFUSALS = (429, 503)
_GRACE_S = 30
_STARTED = re.compile(r"requests: \d+ total, (\d+) started, (\d+) done")


class SentLoad(Struct, frozen=True, kw_only=True):
    """Every request that was answered, in the order of the answers.

    `status` is -1 where the connection ended first; `took_ms` is the client's time, from the first
    byte sent to the last one received. `unanswered` were under way at the end; `cores` is what the
    generator took of the machine's cores.
    """

    seconds: float
    status: NDArray[np.int64]
    took_ms: NDArray[np.float64]
    unanswered: int
    cores: float

    @property
    def good(self) -> NDArray[np.bool_]:
        """Which were answered 200."""
        return np.equal(self.status, 200)

    @property
    def refused(self) -> NDArray[np.bool_]:
        """Which were told to come back later."""
        return np.isin(self.status, _REFUSALS)


def send_load(
    url: str, body: bytes, *, seconds: int, connections: int, rate: float | None = None
) -> SentLoad:
    """POST a JSON body again and again.

    Args:
        url: where to.
        body: the same for every request.
        seconds: how long.
        connections: how many, each with one request at a time.
        rate: requests per second of all connections together, whatever the answers take (open
            loop); a connection that waits for an answer sends what it has missed later. None sends
            the next request when an answer has come (closed loop).

    Raises:
        ConfigError: h2load is not installed.
        StepError: it failed.
    """
    if shutil.which("h2load") is None:
        raise ConfigError("h2load is missing; run `apt-get install nghttp2-client`.")
    with tempfile.TemporaryDirectory(prefix="h2load-") as scratch:
        log, data = Path(scratch) / "log.tsv", Path(scratch) / "body.json"
        data.write_bytes(body)
        command = ["h2load", "--h1", "-t", "1", "-c", str(connections), "-D", str(seconds)]
        if rate is not None:
            command += [f"--rps={rate / connections:g}"]
        command += ["-d", str(data), "-H", "content-type: application/json"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = _run([*command, f"--log-file={log}", url], seconds + _GRACE_S)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        counted = _STARTED.search(done.stdout)
        if done.returncode != 0 or counted is None:
            raise StepError(f"h2load: {done.stdout[-500:]}{done.stderr[-500:]}")
        rows = np.loadtxt(log, dtype=np.int64, ndmin=2, usecols=(1, 2))
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return SentLoad(
        seconds=seconds,
        status=rows[:, 0],
        took_ms=rows[:, 1] / 1e3,
        unanswered=int(counted[1]) - int(counted[2]),
        cores=round(used / seconds, 2),
    )


def _run(command: list[str], limit_s: float) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit_s)
    except subprocess.TimeoutExpired:
        # It goes on for ever when a server ends each connection.
        raise StepError(f"h2load did not end in {limit_s:g} s; stop it and try again.") from None


def percentile_ms(took_ms: NDArray[np.float64], q: float) -> float | None:
    """Return a percentile, None of nothing."""
    return round(float(np.percentile(took_ms, q)), 2) if took_ms.size else None
