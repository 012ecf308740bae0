"""Runs the metrics exporter next to TorchServe; serving never waits for it or ends with it."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from marloft.deploy.ports import Ports
from marloft.deploy.processes.process import Launch, ManagedProcess
from marloft.errors import ServingError

_REVIVE_EVERY_S = 30.0


class Exporter(ManagedProcess):
    """A running `marloft metrics`; use it as a context manager."""

    name = "The metrics exporter"
    stop_patience_s = 5.0
    adopt_s = 0.0

    def __init__(self, var: Path, ports: Ports) -> None:
        """Remember where things lie; the console output goes to `log/metrics.log` below `var`."""
        record = var.resolve() / "run" / "processes" / "exporter.json"
        super().__init__(var.resolve() / "log" / "metrics.log", record)
        self._var, self._ports = var.resolve(), ports
        self._revived_at = float("-inf")

    def start(self) -> None:
        """Start the exporter; what it has to tell can wait until it answers."""
        self.spawn()

    def prepare(self) -> Launch:
        """Return the command of the exporter."""
        launcher = Path(sys.executable).with_name("marloft")
        command = [str(launcher), "metrics", "--var", str(self._var)]
        command += ["--port-offset", str(self._ports.offset)]
        return Launch(command=command, env=dict(os.environ), cwd=self._var)

    def probe(self) -> bool:
        """Never ready for adoption: it keeps nothing that a new one would lack."""
        return False

    def end_earlier(self) -> None:
        """End the exporter that an earlier supervisor left behind."""
        self.adopt()

    def revive(self, report: Callable[[str], None]) -> None:
        """Start it again when it ended, at most twice a minute."""
        try:
            self.check_alive()
        except ServingError as error:
            if time.monotonic() - self._revived_at < _REVIVE_EVERY_S:
                return
            self._revived_at = time.monotonic()
            report(f"{error} It is started again.")
            self.stop()
            self.start()
