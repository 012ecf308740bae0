"""Starts and stops the gateway process."""

import os
from pathlib import Path

from marloft.cores import available_cores
from marloft.deploy.gateway import envoy_command, render_bootstrap
from marloft.deploy.ports import Exposure, Ports
from marloft.deploy.process import ManagedProcess
from marloft.files import write_atomic

_START_S = 20.0


class Envoy(ManagedProcess):
    """A running Envoy on the rendered bootstrap; use it as a context manager."""

    name = "Envoy"
    stop_patience_s = 10.0

    def __init__(self, var: Path, routes: Path, ports: Ports, exposure: Exposure) -> None:
        """Remember where things lie; the console output goes to `var/log/envoy.log`."""
        super().__init__(var.resolve() / "log" / "envoy.log")
        self._bootstrap = var.resolve() / "run" / "envoy.json"
        self._routes, self._ports, self._exposure = routes.resolve(), ports, exposure

    def start(self) -> None:
        """Start Envoy and wait until it has its routes."""
        # TorchServe and its workers need the other half of the cores.
        concurrency = max(1, available_cores() // 2)
        bootstrap = render_bootstrap(self._ports, self._routes, exposure=self._exposure)
        write_atomic(self._bootstrap, bootstrap)
        command = envoy_command(self._bootstrap, concurrency=concurrency)
        self.launch(command, os.environ, self._bootstrap.parent)
        url = f"http://127.0.0.1:{self._ports.envoy_admin}/ready"
        self.wait_for(url, lambda response: response.text.strip() == "LIVE", _START_S)
