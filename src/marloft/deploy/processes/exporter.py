"""Runs the metrics exporter next to TorchServe; serving never waits for it or ends with it."""

import os
import sys
from pathlib import Path

from marloft.deploy.ports import Ports
from marloft.deploy.processes.process import Launch, ManagedProcess, answers


class Exporter(ManagedProcess):
    """A running `marloft metrics`; use it as a context manager."""

    name = "The metrics exporter"
    stop_patience_s = 5.0
    # One question may find it reading much of the log.
    answer_s = 15.0

    def __init__(self, var: Path, ports: Ports) -> None:
        """Remember where things lie; the console output goes to `log/metrics.log` below `var`."""
        record = var.resolve() / "run" / "processes" / "exporter.json"
        super().__init__(var.resolve() / "log" / "metrics.log", record)
        self._var, self._ports = var.resolve(), ports

    def prepare(self) -> Launch:
        """Return the command of the exporter."""
        launcher = Path(sys.executable).with_name("marloft")
        command = [str(launcher), "metrics", "--var", str(self._var)]
        command += ["--port-offset", str(self._ports.offset)]
        return Launch(command=command, env=dict(os.environ), cwd=self._var)

    def probe(self, timeout_s: float = 1.0) -> bool:
        """Whether it answers; what it answers without reading the log costs it nothing."""
        url = f"http://127.0.0.1:{self._ports.exporter}/favicon.ico"
        return answers(url, lambda response: response.is_success, timeout_s)
