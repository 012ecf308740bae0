"""Asks each version with routes, and the gateway's /health, whether a prediction goes through.

A probe takes the way of a request, through the version's queue and worker, so it tells what no list
of workers shows: a log that cannot be written, a worker that never ends its batch.
"""

import threading
import time
from collections.abc import Callable, Mapping
from functools import partial

import httpx2
import msgspec

from marloft.contract.predict_api import ROUTE_HEADER, Problem
from marloft.contract.release import Key
from marloft.deploy.faults import Faults
from marloft.deploy.ports import LOOPBACK, Exposure, Ports

HEALTH = "/health"
# What one probe says counts when the next one says it too, so that the first try of a restart or a
# full queue is no fault.
EVERY_S = 1.5
# Admission keeps a request waiting for half a second at most, and a batch may be before it.
SILENT_S = 4.0
_ANY_ADDRESS = "0.0.0.0"  # noqa: S104 - compared, not bound

Ask = Callable[[httpx2.Client, float], httpx2.Response]


class Probes:
    """One thread for each that is asked; what is wrong is a fault of it until it answers well."""

    def __init__(self, ports: Ports, exposure: Exposure, faults: Faults) -> None:
        """Ask nobody yet."""
        host = LOOPBACK if exposure.gateway == _ANY_ADDRESS else exposure.gateway
        self._health = f"http://{host}:{ports.gateway}{HEALTH}"
        self._predictions = f"http://{LOOPBACK}:{ports.inference}/predictions"
        self._faults = faults
        self._asked: dict[str, _Asked] = {}

    def follow(self, versions: Mapping[Key, float], *, health: bool) -> None:
        """Ask these from now on, and no others.

        Args:
            versions: how long each takes to answer, in seconds: a slow one may be silent longer.
            health: whether the gateway's /health is to answer.
        """
        wanted: dict[str, Ask] = {
            f"{model} {version}": partial(_ask_version, f"{self._predictions}/{model}/{version}")
            for model, version in versions
        }
        if health:
            wanted[HEALTH] = partial(_ask_health, self._health)
        for subject in self._asked.keys() - wanted.keys():
            self._asked.pop(subject).end()
        for subject, ask in wanted.items():
            if subject not in self._asked:
                self._asked[subject] = _Asked(subject, ask, self._faults)
        for (model, version), answer_s in versions.items():
            self._asked[f"{model} {version}"].silent_s = SILENT_S + 2 * answer_s

    def close(self) -> None:
        """Ask nobody any more."""
        self.follow({}, health=False)


class _Asked:
    """One that is asked again and again, by a daemon thread: an answer may be long in coming."""

    def __init__(self, subject: str, ask: Ask, faults: Faults) -> None:
        self.silent_s = SILENT_S
        self._subject, self._ask, self._faults = subject, ask, faults
        self._ended = threading.Event()
        # So that the last answer of one that is asked no more does not become its fault.
        self._judging = threading.Lock()
        threading.Thread(target=self._run, name=f"probe of {subject}", daemon=True).start()

    def end(self) -> None:
        with self._judging:
            self._ended.set()
            self._faults.over(self._subject)

    def _run(self) -> None:
        failures = 0
        with httpx2.Client() as client:
            while not self._ended.wait(EVERY_S):
                began = time.monotonic()
                why = self._refusal(client)
                failures = 0 if why is None else failures + 1
                lasting = failures > 1 or time.monotonic() - began > EVERY_S
                with self._judging:
                    if self._ended.is_set():
                        return
                    if why is None:
                        self._faults.over(self._subject)
                    elif lasting:
                        self._faults.found(self._subject, why)

    def _refusal(self, client: httpx2.Client) -> str | None:
        limit_s = self.silent_s
        try:
            response = self._ask(client, limit_s)
        except httpx2.TimeoutException:
            return f"no answer to a probe in {limit_s:.0f} s"
        except httpx2.HTTPError as error:
            return f"no answer to a probe: {error}"
        if response.is_success:
            return None
        return f"a probe is answered {response.status_code}: {_reason(response)}"


def _ask_version(url: str, client: httpx2.Client, limit_s: float) -> httpx2.Response:
    # With a deadline, so that a worker that comes back does not work on what nobody waits for.
    facts = f"probe=1;t={time.time():.6f};d={limit_s:g}"
    return client.get(url, headers={ROUTE_HEADER: facts}, timeout=limit_s)


def _ask_health(url: str, client: httpx2.Client, limit_s: float) -> httpx2.Response:
    return client.get(url, timeout=limit_s)


def _reason(response: httpx2.Response) -> str:
    try:
        return msgspec.json.decode(response.content, type=Problem).detail
    except msgspec.DecodeError:
        return response.text[:200]
