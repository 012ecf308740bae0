"""`marloft serve`: keeps TorchServe and the gateway running until told to stop."""

import functools
from collections.abc import Sequence
from contextlib import ExitStack

from marloft.contract.release import read_release, releases_folder
from marloft.deploy.control.controller import DRAIN_GRACE_S, Connections, Controller
from marloft.deploy.control.retention import LogRetention
from marloft.deploy.events import append_event
from marloft.deploy.gateway.drain import drain
from marloft.deploy.guardrails.watch import RolloutWatch
from marloft.deploy.ports import Exposure, Ports, check_free
from marloft.deploy.processes.envoy import Envoy
from marloft.deploy.processes.exporter import Exporter
from marloft.deploy.processes.process import ManagedProcess
from marloft.deploy.processes.restarts import Restarter
from marloft.deploy.processes.torchserve import TorchServe, check_temporary_folder
from marloft.deploy.project import Project, Report
from marloft.deploy.release.write import move
from marloft.deploy.running import exclusive
from marloft.stop_signal import Stop

__all__ = ["Project", "serve"]

_HELD = {
    "TorchServe": ("TorchServe",),
    "Envoy": ("gateway", "operations", "Envoy admin"),
}


def serve(
    project: Project,
    ports: Ports,
    stop: Stop,
    report: Report,
    *,
    exposure: Exposure,
    announce_s: float = 0.0,
) -> None:
    """Run TorchServe and the gateway and hold them to the newest release until `stop` is set.

    What an earlier `serve` left running is taken over without an interruption, if it was started
    in the same way, and ended otherwise. A process that ends is started again. At the stop every
    request that is under way gets its answer before the processes end; `announce_s` is how long
    `/health` says 503 before the port closes.

    Raises:
        ReleaseError: there is no release yet.
        ServingError: a port is taken, another `serve` runs here, the temporary folder's path is too
            long for sockets, or a process cannot be started.
    """
    check_temporary_folder()
    release = read_release(releases_folder(project.var))
    with ExitStack() as stack:
        stack.enter_context(exclusive(project.var))
        server = TorchServe(project.config, project.store, project.var, ports)
        gateway = Envoy(project.var, project.routes, ports, exposure)
        exporter = Exporter(project.var, ports)
        for process in (server, gateway, exporter):
            stack.push(process)
        exporter.end_earlier()
        adopted = [process for process in (server, gateway) if _adopt(process, report)]
        check_free(ports, exposure, held=_held(ports, adopted))
        watch = RolloutWatch(project.var, ports.envoy_admin, functools.partial(move, project.var))
        stack.callback(watch.close)
        servers = Connections.at(ports)
        stack.callback(servers.close)
        controller = Controller(project, servers, report, watch=watch)
        # Before TorchServe starts: an adopted gateway would lead to models that it lacks.
        controller.start(release, running=server in adopted)
        _start([each for each in (server, gateway) if each not in adopted], report)
        exporter.start()
        append_event(project.var, "serving", release=release.release)
        _run(project, controller, (server, gateway, exporter), stop, report)
        report("stopping: finishing what is under way")
        limit_s = controller.longest_request_s + DRAIN_GRACE_S
        left = 0
        if gateway.is_alive():
            left = drain(ports.envoy_admin, project.routes, announce_s=announce_s, limit_s=limit_s)
        append_event(project.var, "stopped", unanswered=left)
        report(f"stopped, {left} requests without an answer")


def _run(
    project: Project,
    controller: Controller,
    processes: tuple[TorchServe, Envoy, Exporter],
    stop: Stop,
    report: Report,
) -> None:
    """Look after the processes and the release until `stop` is set."""
    server, gateway, exporter = processes

    def server_ended(why: str) -> None:
        append_event(project.var, "ended", process=server.name, why=why)
        server.load_at_start(controller.torchserve_ended(why))

    def gateway_ended(why: str) -> None:
        append_event(project.var, "ended", process=gateway.name, why=why)

    restarters = [
        Restarter(server, report, server_ended),
        Restarter(gateway, report, gateway_ended),
    ]
    retention = LogRetention(project.var, report)
    while not stop.is_set():
        serving, _ = [each.restart_if_due() for each in restarters]
        exporter.revive(report)
        retention.delete_if_due()
        if serving:
            controller.step()
        controller.wait(stop, lambda: not all(each.is_steady for each in restarters))


def _adopt(process: ManagedProcess, report: Report) -> bool:
    if not process.adopt():
        return False
    report(f"{process.name} runs already (process {process.pid}); taken over")
    return True


def _start(processes: Sequence[ManagedProcess], report: Report) -> None:
    """Start them side by side: the gateway says 503 while TorchServe starts."""
    for process in processes:
        report(f"starting {process.name}")
        process.spawn()
    for process in processes:
        process.wait_until_ready()


def _held(ports: Ports, adopted: Sequence[ManagedProcess]) -> list[str]:
    prefixes = tuple(prefix for process in adopted for prefix in _HELD[process.name])
    return [purpose for purpose in ports.purposes() if prefixes and purpose.startswith(prefixes)]
