"""What `marloft serve` says of itself: kept in memory for its endpoint, and in `live.json`."""

import time
from collections.abc import Callable
from pathlib import Path

from msgspec import structs

from marloft.contract.live import Live, live_path
from marloft.deploy.events import now
from marloft.deploy.faults import Faults
from marloft.errors import ConfigError
from marloft.files import PRIVATE, read_json, to_json, write_if_other


class LiveReport:
    """The last observation, the faults there are, and since when nobody has looked.

    The file is for people, and for a `marloft` of another version; memory is the truth, which needs
    no disk.
    """

    def __init__(
        self, var: Path, faults: Faults, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin with nothing observed."""
        self._var, self._faults, self._clock = var.resolve(), faults, clock
        self._observed = Live(time=now(), release=0, live=False, serving={}, versions={})
        self._looked_at = clock()
        self._restarts: dict[str, int] = {}
        self._told = faults.current

    @property
    def has_news(self) -> bool:
        """Whether faults have come or gone since the file was written."""
        return self._faults.current != self._told

    @property
    def current(self) -> Live:
        """Everything known now; threads may read it at any time."""
        return structs.replace(
            self._observed,
            var=str(self._var),
            age_s=max(0.0, self._clock() - self._looked_at),
            faults=self._faults.current,
            restarts=dict(self._restarts),
        )

    def resume(self) -> None:
        """Go on from what an earlier supervisor reported, if it can be read."""
        try:
            self._observed = read_json(live_path(self._var), Live)
        except (ConfigError, OSError):
            return

    def publish(self, live: Live) -> None:
        """Take an observation."""
        if structs.replace(live, time=self._observed.time) != self._observed:
            self._observed = live
        self.looked()

    def not_live(self, complaint: str | None) -> None:
        """Say that what was live is not, and why."""
        self.publish(structs.replace(self._observed, time=now(), live=False, complaint=complaint))

    def restarted(self, process: str) -> None:
        """Count a start of a process that had ended or did not answer."""
        self._restarts[process] = self._restarts.get(process, 0) + 1

    def looked(self) -> None:
        """Note that the loop has come round, and bring `live.json` up to date."""
        self._looked_at = self._clock()
        with self._faults.contained("live.json"):
            self._write()
        self._told = self._faults.current

    def _write(self) -> None:
        """Write what differs from the file, whoever changed it."""
        faults = {k: v for k, v in self._faults.current.items() if k != "live.json"}
        wanted = structs.replace(self._observed, faults=faults, restarts=dict(self._restarts))
        write_if_other(live_path(self._var), to_json(wanted), PRIVATE)
