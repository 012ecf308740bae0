"""`marloft serve`: keeps TorchServe and the gateway running until told to stop."""

import fcntl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from marloft.contract.release import read_release
from marloft.deploy.controller import DRAIN_GRACE_S, Controller, Project, Report
from marloft.deploy.drain import drain
from marloft.deploy.envoy import Envoy
from marloft.deploy.events import append_event
from marloft.deploy.exporter import Exporter
from marloft.deploy.management import ManagementApi
from marloft.deploy.ports import Exposure, Ports, check_free
from marloft.deploy.releases import releases_folder
from marloft.deploy.torchserve import TorchServe
from marloft.errors import ServingError

__all__ = ["Project", "exclusive", "serve"]


def serve(
    project: Project,
    ports: Ports,
    stop: threading.Event,
    report: Report,
    *,
    exposure: Exposure,
    announce_s: float = 0.0,
) -> None:
    """Run TorchServe and the gateway and hold them to the newest release until `stop` is set.

    Then every request that is under way gets its answer before the processes end; `announce_s`
    is how long `/health` says 503 before the port closes.

    Raises:
        ReleaseError: there is no release yet.
        ServingError: a port is taken, another `serve` runs here, or a process ended.
    """
    release = read_release(releases_folder(project.var))
    with ExitStack() as stack:
        stack.enter_context(exclusive(project.var))
        check_free(ports, exposure)
        report("starting TorchServe")
        server = stack.enter_context(TorchServe(project.config, project.store, project.var, ports))
        api = ManagementApi(ports.management)
        stack.callback(api.close)
        controller = Controller(project, api, report)
        controller.start(release)
        report("starting the gateway")
        gateway = stack.enter_context(Envoy(project.var, project.routes, ports, exposure))
        exporter = stack.enter_context(Exporter(project.var, ports))
        append_event(project.var, "serving", release=release.release)
        while not stop.is_set():
            server.check_alive()
            gateway.check_alive()
            exporter.revive(report)
            controller.step()
            controller.wait(stop)
        report("stopping: finishing what is under way")
        limit_s = controller.longest_request_s + DRAIN_GRACE_S
        left = drain(ports.envoy_admin, project.routes, announce_s=announce_s, limit_s=limit_s)
        append_event(project.var, "stopped", unanswered=left)
        report(f"stopped, {left} requests without an answer")


@contextmanager
def exclusive(var: Path) -> Iterator[None]:
    """Hold `var/lock`; the kernel frees it when the process ends, however it ends.

    Raises:
        ServingError: another process holds it.
    """
    var.mkdir(parents=True, exist_ok=True)
    with (var / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ServingError(
                f"another `marloft serve` runs on {var}; stop it, or choose another --var."
            ) from None
        yield
