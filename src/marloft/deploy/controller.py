"""Brings reality to the newest release: observes, asks `reconcile`, does what it says."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from marloft.contract.allocation import allocation_path
from marloft.contract.release import (
    Release,
    ReleasedModel,
    ReleasedVersion,
    newest_number,
    read_release,
)
from marloft.deploy.allocations import render_allocations
from marloft.deploy.events import append_event
from marloft.deploy.gateway_retries import longest_request_s
from marloft.deploy.gateway_routes import render_routes, write_routes
from marloft.deploy.management import ManagementApi
from marloft.deploy.reconcile import (
    Action,
    Key,
    Observed,
    Projections,
    Register,
    SetDefault,
    Unregister,
    WriteAllocation,
    WriteRoutes,
    reconcile,
    unavailable,
)
from marloft.deploy.releases import releases_folder
from marloft.deploy.resolve import archive_path, holds
from marloft.errors import ServingError
from marloft.files import write_atomic

_LOOK_EVERY_S = 2.0
_WAKE_EVERY_S = 0.1
# What a request may last beyond the gateway's limit, until TorchServe has dropped it.
DRAIN_GRACE_S = 1.0
Report = Callable[[str], None]


class Project(Struct, frozen=True, kw_only=True):
    """Where one deployment's files lie."""

    config: Path
    store: Path
    var: Path

    @property
    def allocations(self) -> Path:
        """Return the folder of the assign nodes' files."""
        return allocation_path(self.var, "any").parent

    @property
    def routes(self) -> Path:
        """Return the gateway's route file."""
        return self.var / "run" / "routes" / "routes.json"


class Controller:
    """Observes, asks `reconcile` what to do, does it; holds no truth of its own."""

    def __init__(self, project: Project, api: ManagementApi, report: Report) -> None:
        self._project, self._api, self._report = project, api, report
        self._ready_once: set[Key] = set()
        self._announced = 0
        self._seen = 0
        self._complaint = ""
        self._drained_at = 0.0
        self._longest_s = 0.0

    @property
    def longest_request_s(self) -> float:
        """The most that a request of any release since the start can last."""
        return self._longest_s

    def start(self, release: Release) -> None:
        """Write the first route file, which leads nowhere yet, so that the gateway can start."""
        self._project.routes.unlink(missing_ok=True)
        self._project.routes.parent.mkdir(parents=True, exist_ok=True)
        observed = self._observe()
        write_routes(self._project.routes, render_routes(release, unavailable(release, observed)))

    def step(self) -> None:
        """Bring reality one step closer; what TorchServe refuses is said once and tried again."""
        try:
            self._step()
            self._complaint = ""
        except ServingError as error:
            if str(error) != self._complaint:
                self._report(f"not yet: {error}")
            self._complaint = str(error)

    def _step(self) -> None:
        release = read_release(releases_folder(self._project.var))
        # Never less: requests of earlier releases may still be under way.
        self._longest_s = max(self._longest_s, longest_request_s(release))
        self._seen = release.release
        observed = self._observe()
        missing = unavailable(release, observed)
        wanted = Projections(
            routes=render_routes(release, missing),
            allocations=render_allocations(
                releases_folder(self._project.var), release, observed.allocations
            ),
        )
        actions = reconcile(release, observed, wanted)
        for action in actions:
            self._do(action)
        if not actions and not missing and self._announced != release.release:
            self._announced = release.release
            self._report(f"release {release.release} is live: {_summary(release)}")

    def wait(self, stop: threading.Event) -> None:
        """Sleep until the next look: at once for a new release, soon while one is not live yet."""
        pause_s = _LOOK_EVERY_S if self._announced == self._seen else _WAKE_EVERY_S
        until = time.monotonic() + pause_s
        folder = releases_folder(self._project.var)
        while time.monotonic() < until and newest_number(folder) == self._seen:
            if stop.wait(_WAKE_EVERY_S):
                return

    def _observe(self) -> Observed:
        registered = self._api.registered()
        self._ready_once &= set(registered)
        self._ready_once |= {key for key, found in registered.items() if found.state == "ready"}
        routes = self._project.routes
        return Observed(
            registered=registered,
            ready_once=frozenset(self._ready_once),
            routes=routes.read_bytes() if routes.is_file() else None,
            drained=time.monotonic() > self._drained_at,
            allocations={
                path.stem: path.read_bytes() for path in self._project.allocations.glob("*.json")
            },
        )

    def _do(self, action: Action) -> None:
        match action:
            case Register(model=model, version=version, pinned=pinned):
                path = archive_path(self._project.store, model, version)
                self._check_bytes(path, pinned)
                self._api.register(path.name, pinned.settings)
                self._note("register", model, version)
            case WriteRoutes(content=content):
                write_routes(self._project.routes, content)
                self._drained_at = time.monotonic() + self._longest_s + DRAIN_GRACE_S
                append_event(self._project.var, "routes")
            case WriteAllocation(experiment=experiment, content=content):
                write_atomic(allocation_path(self._project.var, experiment), content)
                append_event(self._project.var, "allocation", experiment=experiment)
            case SetDefault(model=model, version=version):
                self._api.set_default(model, version)
                self._note("set default", model, version)
            case Unregister(model=model, version=version):
                self._api.unregister(model, version)
                self._note("unregister", model, version)

    def _check_bytes(self, path: Path, pinned: ReleasedVersion) -> None:
        """Refuse bytes that are not the ones the release decided on."""
        if not holds(path, pinned):
            raise ServingError(
                f"{path} is not the archive of release {self._seen} "
                f"(sha256 {pinned.sha256[:12]}…); "
                f"put that file back or run `marloft apply` for the new one."
            )

    def _note(self, what: str, model: str, version: str) -> None:
        append_event(self._project.var, what, model=model, version=version)
        self._report(f"{what} {model} {version}")


def _summary(release: Release) -> str:
    return "; ".join(_describe(name, model) for name, model in release.models.items())


def _describe(name: str, model: ReleasedModel) -> str:
    others = [version for version in model.versions if version != model.default]
    text = f"{name} {model.default}" + (f" (also {', '.join(others)})" if others else "")
    if model.allocation is not None:
        arms = ", ".join(f"{arm.name} {arm.version}: {arm.weight}" for arm in model.allocation.arms)
        text += f", {model.allocation.name} splits users over {arms}"
    return text
