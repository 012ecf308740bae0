"""Whether Envoy has taken the files that were written for it: asked of Envoy, each time.

A file in place is not in force: Envoy may lack the descriptor to read it with, or refuse it.
https://www.envoyproxy.io/docs/envoy/v1.37.0/configuration/overview/mgmt_server#xds-subscription-statistics
"""

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import httpx2
from msgspec import Struct

from marloft.deploy.gateway.discovery_files import file_version
from marloft.deploy.gateway.envoy_config import ROUTE_CONFIG

Kind = Literal["routes", "clusters"]

# A file is taken in milliseconds; a machine whose cores are busy gets some seconds.
PATIENCE_S = 3.0
_STATS: dict[Kind, str] = {
    "routes": f"http.gateway.rds.{ROUTE_CONFIG}.version_text",
    "clusters": "cluster_manager.cds.version_text",
}
_QUERY = {"type": "TextReadouts", "format": "json", "filter": "version_text$"}
# Envoy repeats a file that it refuses.
_LOG_BYTES = 4 << 20
_MARK = "Filesystem config update"
_LONGEST_REASON = 400


class Accepted(Struct, frozen=True, kw_only=True):
    """Whether one file is in force; `overdue` says why not, once Envoy has had time enough.

    `again` is true at the looks at which the file should be written once more.
    """

    taken: bool
    overdue: str | None = None
    again: bool = False


class Acceptance:
    """Compares the version of each file in place with the one that Envoy says it has taken."""

    def __init__(
        self,
        admin_port: int,
        log: Path = Path("envoy.log"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connect lazily to Envoy's admin interface on loopback.

        Args:
            admin_port: of the admin interface.
            log: Envoy's console, for the reason of what it refuses.
            clock: seconds that never go back.
        """
        base = f"http://127.0.0.1:{admin_port}"
        self._client = httpx2.Client(base_url=base, timeout=1)
        self._log, self._clock = log, clock
        self._waits: dict[Kind, tuple[str, float]] = {}
        self._overdue: dict[Kind, str] = {}

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def versions(self) -> dict[Kind, str] | None:
        """Return the version of each file that is in force, None when Envoy does not answer."""
        try:
            answer = self._client.get("/stats", params=_QUERY)
            stats = answer.raise_for_status().json()["stats"]
        except httpx2.HTTPError:
            return None
        found = {each["name"]: each["value"] for each in stats}
        return {kind: found.get(name, "") for kind, name in _STATS.items()}

    def look(self, files: dict[Kind, bytes | None]) -> dict[Kind, Accepted]:
        """Return for each file in place whether it is in force, and for how long not."""
        versions = self.versions()
        return {kind: self._compare(kind, content, versions) for kind, content in files.items()}

    def _compare(
        self, kind: Kind, content: bytes | None, versions: dict[Kind, str] | None
    ) -> Accepted:
        written = file_version(content or b"")
        if versions is not None and written and versions[kind] == written:
            self._waits.pop(kind, None)
            self._overdue.pop(kind, None)
            return Accepted(taken=True)
        now = self._clock()
        version, since = self._waits.get(kind, ("", now))
        if version != written:
            since = now
        again = now - since >= PATIENCE_S
        if again:
            self._overdue[kind] = self._reason(answers=versions is not None)
        self._waits[kind] = (written, now if again else since)
        return Accepted(taken=False, overdue=self._overdue.get(kind), again=again)

    def _reason(self, *, answers: bool) -> str:
        if not answers:
            return "Envoy's admin interface does not answer"
        said = last_refusal(self._log)
        return said or f"Envoy does not say why; see {self._log}"


def last_refusal(log: Path) -> str:
    """Return the last thing that Envoy said of a file that it did not take, in one line."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - _LOG_BYTES))
            text = stream.read().decode(errors="replace")
    except OSError:
        return ""
    _, mark, said = text.rpartition(_MARK)
    if not mark:
        return ""
    verb, _, message = said.partition(": ")
    # The next message begins with its time; before the last line, Envoy repeats the file.
    lines = itertools.takewhile(lambda line: not line.startswith("[20"), message.splitlines())
    *_, last = [line for line in lines if line] or [""]
    return f"config update{verb}: {last.removeprefix(': ')}"[:_LONGEST_REASON]
