"""What `marloft serve` does at each look, as long as it runs; nothing in it may end serving."""

import time
from contextlib import ExitStack
from typing import Self

from marloft.deploy.control.controller import Controller
from marloft.deploy.control.retention import LogRetention
from marloft.deploy.events import append_event
from marloft.deploy.faults import Faults
from marloft.deploy.ports import Ports
from marloft.deploy.processes.envoy import Envoy
from marloft.deploy.processes.exporter import Exporter
from marloft.deploy.processes.process import ManagedProcess
from marloft.deploy.processes.restarts import Restarter
from marloft.deploy.processes.torchserve import TorchServe
from marloft.deploy.processes.watchdog import Watchdog
from marloft.deploy.project import Project
from marloft.deploy.state.folder import StateFolder
from marloft.deploy.state.live_report import LiveReport
from marloft.stop_signal import Stop

# After a look that could not even wait.
_PAUSE_S = 1.0
_REST_EVERY_S = 2.0


class Processes:
    """The three processes of `marloft serve`."""

    def __init__(self, server: TorchServe, gateway: Envoy, exporter: Exporter) -> None:
        """Take them; TorchServe and the gateway run, the exporter may still be starting."""
        self.server, self.gateway, self.exporter = server, gateway, exporter

    @property
    def all(self) -> tuple[ManagedProcess, ...]:
        """Every one."""
        return (self.server, self.gateway, self.exporter)


class Upkeep:
    """Looks after processes, files and the release; a context manager, which ends the watchdogs.

    Each part is contained on its own: what fails is a fault, and is tried again at the next look.
    """

    def __init__(
        self,
        project: Project,
        ports: Ports,
        processes: Processes,
        controller: Controller,
        live: LiveReport,
        faults: Faults,
    ) -> None:
        """Take what is looked after."""
        self._project, self._processes = project, processes
        self._controller, self._live, self._faults = controller, live, faults
        self._retention = LogRetention(project.var, faults)
        self._state = StateFolder(project.var, ports.supervisor, faults)
        self._rest_due_s = 0.0
        self._watchdogs = ExitStack()
        self._server = self._kept(processes.server)
        self._gateway = self._kept(processes.gateway)
        self._exporter = self._kept(processes.exporter, is_ready=False)

    def __enter__(self) -> Self:
        """Return itself: the watchdogs ask from the beginning."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the watchdogs."""
        self._watchdogs.close()

    def run(self, stop: Stop) -> None:
        """Look until `stop` is set."""
        while not stop.is_set():
            self.look()
            waited = False
            with self._faults.survived("waiting for the next release"):
                self._controller.wait(stop, self._hurry)
                waited = True
            if not waited:
                stop.wait(_PAUSE_S)

    def look(self) -> None:
        """Do everything that is due."""
        survived = self._faults.survived
        self._live.looked()
        with survived("looking after Envoy"):
            self._gateway.restart_if_due()
        with survived("looking after the metrics exporter"):
            self._exporter.restart_if_due()
        serving = False
        with survived("looking after TorchServe"):
            serving = self._server.restart_if_due()
        with survived("bringing the release live"):
            self._bring_live(serving=serving)
        with survived("deleting old log segments"):
            self._retention.delete_if_due()
        with survived("looking after files"):
            self._check_the_rest()
        self._live.looked()

    def _bring_live(self, *, serving: bool) -> None:
        if not serving:
            name = self._processes.server.name
            self._live.not_live(self._faults.current.get(name, f"{name} is starting"))
        elif self._controller.step():
            self._server.answered()

    def _check_the_rest(self) -> None:
        if time.monotonic() < self._rest_due_s:
            return
        self._rest_due_s = time.monotonic() + _REST_EVERY_S
        self._state.check()
        for process in self._processes.all:
            with self._faults.contained(f"the process of {process.name}"):
                process.check_not_stopped()
            with self._faults.contained(f"the record of {process.name}"):
                process.keep_record()
            with self._faults.contained(f"the console of {process.name}"):
                process.bound_console()

    def _hurry(self) -> bool:
        return not (self._server.is_steady and self._gateway.is_steady)

    def _kept(self, process: ManagedProcess, *, is_ready: bool = True) -> Restarter:
        watchdog = self._watchdogs.enter_context(Watchdog(process.probe))
        return Restarter(
            process,
            watchdog,
            self._faults,
            lambda why: self._ended(process, why),
            is_ready=is_ready,
        )

    def _ended(self, process: ManagedProcess, why: str) -> None:
        self._live.restarted(process.name)
        append_event(self._project.var, "ended", process=process.name, why=why)
        server = self._processes.server
        if process is server:
            with self._faults.contained("the route file"):
                server.load_at_start(self._controller.torchserve_ended(why))
