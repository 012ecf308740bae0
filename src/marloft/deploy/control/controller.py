"""Brings reality to the newest release: observes, asks `reconcile`, has done what it says."""

import threading
import time
from collections.abc import Callable, Mapping

from msgspec import structs

from marloft.contract.live import Live, WatchState, live_path
from marloft.contract.release import (
    Key,
    Release,
    ReleasedVersion,
    newest_number,
    read_release,
    releases_folder,
)
from marloft.deploy.control.actions import Hands
from marloft.deploy.control.admission import Admission
from marloft.deploy.control.allocations import render_allocations
from marloft.deploy.control.announce import Announcer, drift
from marloft.deploy.control.golden_gate import Gate
from marloft.deploy.control.reconcile import (
    Observed,
    Projections,
    leftovers,
    missing,
    reconcile,
    unavailable,
    wanted,
)
from marloft.deploy.control.retention import Retention
from marloft.deploy.control.retired import RetiredWorkflows
from marloft.deploy.events import now
from marloft.deploy.gateway.in_flight import InFlight
from marloft.deploy.gateway.retries import longest_request_s
from marloft.deploy.gateway.route_file import routes_label, write_routes
from marloft.deploy.gateway.routes import render_routes
from marloft.deploy.guardrails.watching import Watch
from marloft.deploy.ports import Ports
from marloft.deploy.project import Project, Report
from marloft.deploy.release.in_force import InForce, choose, read_label, whole
from marloft.deploy.torchserve.management import ManagementApi
from marloft.deploy.torchserve.workflows import WorkflowApi
from marloft.errors import MarloftError, ServingError
from marloft.files import write_json

_LOOK_EVERY_S = 2.0
_WATCH_EVERY_S = 1.0
_CHANGING_EVERY_S = 0.1
_WAKE_EVERY_S = 0.05
# How long versions that already run may take to give their golden answers to a new controller.
_ADOPT_S = 10.0
# What a request may last beyond the gateway's limit, until TorchServe has dropped it.
DRAIN_GRACE_S = 1.0


class Controller:
    """Holds no truth of its own: what it remembers is what TorchServe cannot be asked."""

    def __init__(self, project: Project, ports: Ports, report: Report, *, watch: Watch) -> None:
        """Connect to TorchServe and the gateway, lazily.

        Args:
            project: where the files lie.
            ports: where TorchServe and the gateway listen.
            report: tells people.
            watch: judges roll-outs and experiments.
        """
        self._project, self._report, self._watch = project, report, watch
        self._retention = Retention(project.var)
        self._retired = RetiredWorkflows(releases_folder(project.var))
        self._api, self._workflows = ManagementApi(ports.management), WorkflowApi(ports.management)
        self._gate, self._in_flight = Gate(ports.inference), InFlight(ports.envoy_admin)
        self._admission = Admission(self._gate, project.store, project.worker_log)
        self._hands = Hands(
            project, self._api, self._workflows, self._admission, self._in_flight, report
        )
        self._release: Release | None = None
        self._announcer = Announcer(project.var, report)
        self._seen = 0
        self._pause_s = 0.0
        self._complaint: str | None = None
        self._live: Live | None = None
        self._longest_s = 0.0

    def close(self) -> None:
        """Close the connections."""
        for client in (self._api, self._workflows, self._gate, self._in_flight):
            client.close()

    @property
    def longest_request_s(self) -> float:
        """The most that a request of any release since the start can last."""
        return self._longest_s

    def start(self, release: Release, *, running: bool) -> None:
        """Take over.

        Args:
            release: the newest one.
            running: TorchServe and the gateway serve already, from an earlier controller: their
                routes stay until the versions that they lead to have given their golden answers.
                Else the first route file leads nowhere yet, so that the gateway can start.
        """
        self._take(release)
        if not running or not self._project.routes.is_file():
            live_path(self._project.var).unlink(missing_ok=True)
            self.torchserve_ended(None)
            return
        before = self._before(self._routes())
        served = before.models.values() if before is not None else ()
        self._longest_s = max(self._longest_s, *map(longest_request_s, (release, *served)))
        # The earlier controller may have changed the routes a moment before it ended.
        self._in_flight.routes_changed(self._longest_s + DRAIN_GRACE_S)
        deadline = time.monotonic() + _ADOPT_S
        while time.monotonic() < deadline and not self._all_asked(release):
            time.sleep(_WAKE_EVERY_S)

    def torchserve_ended(self, why: str | None) -> list[str]:
        """Let the gateway answer 503 by itself: a new TorchServe knows no model yet.

        Returns:
            The archives that it may load as it starts.
        """
        served = self._admission.defaults(self._release) if self._release is not None else []
        self._admission.forget()
        self._pause_s = 0.0
        self._tell(structs.replace(self._live, live=False) if self._live else None, why)
        if self._release is not None:
            every = list(whole(self._release).versions())
            content = render_routes(self._release, every)
            self._project.routes.parent.mkdir(parents=True, exist_ok=True)
            write_routes(self._project.routes, content)
            self._in_flight.routes_changed(self._longest_s + DRAIN_GRACE_S)
        return served

    def step(self) -> None:
        """Bring reality one step closer; what goes wrong is said once and tried again."""
        try:
            complaint = self._step()
        except (MarloftError, OSError) as error:
            self._pause_s = _CHANGING_EVERY_S
            complaint = str(error)
            self._tell(structs.replace(self._live, live=False) if self._live else None, complaint)
        if complaint is not None and complaint != self._complaint:
            self._report(f"not yet: {complaint}")
        self._complaint = complaint

    def wait(self, stop: threading.Event, hurry: Callable[[], bool]) -> None:
        """Sleep until the next look: at once for a release or a `hurry`, soon in a change."""
        until = time.monotonic() + self._pause_s
        folder = releases_folder(self._project.var)
        while time.monotonic() < until and newest_number(folder) == self._seen:
            if stop.wait(_WAKE_EVERY_S) or hurry():
                return

    def _step(self) -> str | None:
        """Look, act, tell; return what is wrong without being an error."""
        release, damage = self._newest()
        self._retention.step()
        observed, in_force = self._look(release)
        left = leftovers(release, observed, in_force)
        observed = structs.replace(observed, drained=self._in_flight.drained(left))
        projections = Projections(
            routes=render_routes(
                in_force.front, unavailable(in_force, observed), in_force=in_force
            ),
            allocations=render_allocations(
                releases_folder(self._project.var), release, observed.allocations
            ),
        )
        actions = reconcile(release, observed, in_force, projections)
        for action in actions:
            self._hands.do(action, release.release, self._longest_s + DRAIN_GRACE_S)
        lacking = missing(release, observed)
        refused = {key: why for key, why in observed.refused.items() if key in wanted(release)}
        changing = bool(actions or lacking or left)
        is_live = not actions and not lacking and not refused and damage is None
        watches, unwatched = self._judge(release, refused) if is_live or refused else ({}, None)
        self._pause_s = _pause_s(release, changing)
        self._announcer.look(release, is_live=is_live, refused=refused)
        complaint = damage or unwatched or drift(release, observed.registered)
        live = Live(
            time=now(),
            release=release.release,
            live=is_live,
            serving=in_force.numbers,
            versions=self._admission.states(release, observed.registered),
            watches=watches,
        )
        self._tell(live, complaint)
        return complaint

    def _judge(
        self, release: Release, refused: Mapping[Key, str]
    ) -> tuple[dict[str, WatchState], str | None]:
        """Have new versions judged; that it is impossible for a moment stops nothing else."""
        try:
            return self._watch.step(release, dict(self._admission.restarts), refused), None
        except MarloftError as error:
            return {}, f"nobody watches the roll-out: {error}"

    def _newest(self) -> tuple[Release, str | None]:
        """Return the newest release; a damaged one leaves what serves, and is complained of."""
        folder = releases_folder(self._project.var)
        self._seen = newest_number(folder)
        try:
            release = read_release(folder, self._seen)
        except MarloftError as error:
            if self._release is None:
                raise
            return self._release, str(error)
        self._take(release)
        return release, None

    def _take(self, release: Release) -> None:
        self._release = release
        # Never less: requests of earlier releases may still be under way.
        self._longest_s = max(self._longest_s, longest_request_s(release))

    def _look(self, release: Release) -> tuple[Observed, InForce]:
        """Return what is real, and whose routes there should be meanwhile."""
        registered = self._api.registered()
        routes = self._routes()
        before = self._before(routes)
        # What the routes lead to comes first: after a restart those are the bytes that run.
        versions: dict[Key, list[ReleasedVersion]] = {}
        for source in (before.versions() if before else {}, wanted(release)):
            for key, pinned in source.items():
                versions.setdefault(key, []).append(pinned)
        self._admission.look(release.release, versions, registered)
        refused = self._admission.refused
        loaded = {k: sha for k, sha in self._admission.loaded.items() if k not in refused}
        retired = self._retired.of(release)
        workflows = self._workflows.registered() if release.workflows or retired else ()
        observed = Observed(
            registered=registered,
            loaded=loaded,
            held=dict(self._admission.held),
            refused=refused,
            routes=routes,
            allocations={
                path.stem: path.read_bytes() for path in self._project.allocations.glob("*.json")
            },
            workflows=frozenset(workflows),
            retired=retired,
        )
        return observed, choose(release, before, loaded)

    def _routes(self) -> bytes | None:
        path = self._project.routes
        return path.read_bytes() if path.is_file() else None

    def _before(self, routes: bytes | None) -> InForce | None:
        """Return what a route file says is in force."""
        if routes is None:
            return None
        folder = releases_folder(self._project.var)
        try:
            return read_label(routes_label(routes), lambda number: read_release(folder, number))
        except MarloftError:
            # An older release that cannot be read any more cannot be kept serving by its number.
            return None

    def _all_asked(self, release: Release) -> bool:
        """Whether each version that runs and is wanted has been asked for its golden answers."""
        try:
            observed, _ = self._look(release)
        except ServingError:
            return False
        before = self._before(observed.routes)
        versions = wanted(release) | (before.versions() if before else {})
        return all(
            key in observed.loaded or key in observed.refused or found.state != "ready"
            for key, found in observed.registered.items()
            if key in versions
        )

    def _tell(self, live: Live | None, complaint: str | None) -> None:
        """Write `live.json` when something but the time has changed."""
        if live is None:
            return
        live = structs.replace(live, complaint=complaint)
        if self._live is None or structs.replace(live, time=self._live.time) != self._live:
            self._live = live
            write_json(live_path(self._project.var), live)


def _pause_s(release: Release, changing: bool) -> float:
    if changing:
        return _CHANGING_EVERY_S
    watched = any(model.rollout or model.allocation for model in release.models.values())
    return _WATCH_EVERY_S if watched else _LOOK_EVERY_S
