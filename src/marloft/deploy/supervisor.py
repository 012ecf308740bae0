"""`marloft serve`: keeps TorchServe and the gateway running until told to stop."""

import functools
import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress

from marloft.contract.release import read_release, releases_folder
from marloft.deploy.control.controller import DRAIN_GRACE_S, Connections, Controller
from marloft.deploy.control.probes import Probes
from marloft.deploy.control.upkeep import Processes, Upkeep
from marloft.deploy.events import append_event
from marloft.deploy.faults import Faults
from marloft.deploy.gateway.drain import drain
from marloft.deploy.guardrails.watch import RolloutWatch
from marloft.deploy.ports import Exposure, Ports, check_free
from marloft.deploy.processes.descriptors import raise_limit
from marloft.deploy.processes.envoy import Envoy
from marloft.deploy.processes.exporter import Exporter
from marloft.deploy.processes.process import ManagedProcess
from marloft.deploy.processes.torchserve import TorchServe, check_temporary_folder
from marloft.deploy.project import Project, Report
from marloft.deploy.release.write import move
from marloft.deploy.running import exclusive
from marloft.deploy.state.endpoint import answering
from marloft.deploy.state.live_report import LiveReport
from marloft.files import tighten
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
        ConfigError: too few files may be open.
        ServingError: a port is taken, another `serve` runs here, the temporary folder's path is too
            long for sockets, or a process cannot be started.
    """
    check_temporary_folder()
    raise_limit()
    release = read_release(releases_folder(project.var))
    faults = Faults(functools.partial(_tell, report))
    live = LiveReport(project.var, faults)
    with ExitStack() as stack:
        # What lies here holds what users sent.
        stack.callback(os.umask, os.umask(0o077))
        stack.enter_context(exclusive(project.var, ports.supervisor))
        stack.enter_context(answering(ports.supervisor, lambda: live.current))
        tighten(project.var)
        server = TorchServe(project.config, project.store, project.var, ports)
        gateway = Envoy(project.var, project.routes, ports, exposure)
        exporter = Exporter(project.var, ports)
        for process in (server, gateway, exporter):
            stack.push(process)
        exporter.end_earlier()
        adopted = [process for process in (server, gateway) if _adopt(process, report)]
        check_free(ports, exposure, held=["supervisor", *_held(ports, adopted)])
        watch = RolloutWatch(project.var, ports.envoy_admin, functools.partial(move, project.var))
        stack.callback(watch.close)
        servers = Connections.at(ports, project)
        stack.callback(servers.close)
        probes = Probes(ports, exposure, faults)
        stack.callback(probes.close)
        tell = functools.partial(_tell, report)
        controller = Controller(
            project, servers, tell, watch=watch, probes=probes, live=live, faults=faults
        )
        # Before TorchServe starts: an adopted gateway would lead to models that it lacks.
        controller.start(release, running=server in adopted)
        _start([each for each in (server, gateway) if each not in adopted], report)
        exporter.spawn()
        append_event(project.var, "serving", release=release.release)
        processes = Processes(server, gateway, exporter)
        with Upkeep(project, ports, processes, controller, live, faults) as upkeep:
            upkeep.run(stop)
        probes.close()
        tell("stopping: finishing what is under way")
        limit_s = controller.longest_request_s + DRAIN_GRACE_S
        left = 0
        if gateway.is_alive():
            with faults.contained("the drain"):
                left = drain(
                    ports.envoy_admin, project.routes, announce_s=announce_s, limit_s=limit_s
                )
        append_event(project.var, "stopped", unanswered=left)
        tell(f"stopped, {left} requests without an answer")


def _tell(report: Report, line: str) -> None:
    """Tell people; a console on a full disk, or of a closed terminal, ends nothing."""
    with suppress(OSError):
        report(line)


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
