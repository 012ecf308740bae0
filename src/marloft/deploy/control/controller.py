"""Brings what is real to the newest release: observe, reconcile, act, check, judge, tell."""

import time
from collections.abc import Callable

from msgspec import Struct

from marloft.contract.live import Live, WatchState
from marloft.contract.release import Release, newest_number, read_release, releases_folder
from marloft.deploy.control.actions import Action, ActionRunner
from marloft.deploy.control.admission import Admission
from marloft.deploy.control.announce import Announcer, drift
from marloft.deploy.control.golden_gate import GoldenGate
from marloft.deploy.control.liveness import LivingWorkers
from marloft.deploy.control.observe import Observed, Observer
from marloft.deploy.control.probes import Probes
from marloft.deploy.control.reconcile import Reconciliation, reconcile
from marloft.deploy.control.stored_archives import StoredArchives
from marloft.deploy.events import now
from marloft.deploy.faults import Faults
from marloft.deploy.gateway.acceptance import Acceptance
from marloft.deploy.gateway.clusters import render_clusters
from marloft.deploy.gateway.discovery_files import write_file
from marloft.deploy.gateway.in_flight import InFlight
from marloft.deploy.gateway.retries import longest_request_s
from marloft.deploy.gateway.routes import render_routes
from marloft.deploy.guardrails.watch import Watch
from marloft.deploy.ports import Ports
from marloft.deploy.project import Project, Report
from marloft.deploy.state.live_report import LiveReport
from marloft.deploy.torchserve.management import ManagementApi
from marloft.deploy.torchserve.workflows import WorkflowApi
from marloft.errors import MarloftError, ServingError
from marloft.files import private_folder
from marloft.stop_signal import Stop

_LOOK_EVERY_S = 2.0
_WATCH_EVERY_S = 1.0
_CHANGING_EVERY_S = 0.1
_WAKE_EVERY_S = 0.05
# How long versions that already run may take to give their golden answers to a new controller.
_ADOPT_S = 10.0
# What a request may last beyond the gateway's limit, until TorchServe has dropped it.
DRAIN_GRACE_S = 1.0


class Connections(Struct, frozen=True, kw_only=True):
    """The connections to TorchServe and the gateway; each is made when it is first used."""

    models: ManagementApi
    workflows: WorkflowApi
    golden_gate: GoldenGate
    in_flight: InFlight
    acceptance: Acceptance
    ports: Ports

    @classmethod
    def at(cls, ports: Ports, project: Project) -> "Connections":
        """Return connections to the servers of a project at these ports."""
        return cls(
            models=ManagementApi(ports.management),
            workflows=WorkflowApi(ports.management),
            golden_gate=GoldenGate(ports.inference),
            in_flight=InFlight(ports.envoy_admin),
            acceptance=Acceptance(ports.envoy_admin, project.gateway_log),
            ports=ports,
        )

    def close(self) -> None:
        """Close all of them."""
        gateway = (self.in_flight, self.acceptance)
        for client in (self.models, self.workflows, self.golden_gate, *gateway):
            client.close()


class Controller:
    """Holds no truth of its own: what it remembers is what TorchServe cannot be asked."""

    def __init__(
        self,
        project: Project,
        servers: Connections,
        report: Report,
        *,
        watch: Watch,
        probes: Probes,
        faults: Faults,
        live: LiveReport,
    ) -> None:
        """Take what it works with.

        Args:
            project: where the files lie.
            servers: TorchServe and the gateway.
            report: tells people.
            watch: judges roll-outs and experiments.
            probes: asks what has routes whether it answers.
            faults: takes what is wrong with the store.
            live: takes what was observed.
        """
        self._probes, self._faults = probes, faults
        self._archives = StoredArchives(project.store, faults)
        self._project, self._report, self._watch = project, report, watch
        self._live = live
        self._in_flight, self._ports = servers.in_flight, servers.ports
        self._admission = Admission(servers.golden_gate, project.store, project.worker_log)
        self._observer = Observer(
            project,
            servers.models,
            servers.workflows,
            servers.in_flight,
            servers.acceptance,
            self._admission,
            servers.ports,
        )
        self._runner = ActionRunner(
            project, servers.models, servers.workflows, self._admission, servers.in_flight, report
        )
        self._announcer = Announcer(project.var, report)
        self._workers = LivingWorkers()
        self._release: Release | None = None
        self._seen = 0
        self._pause_s = 0.0
        self._complaint: str | None = None
        self._longest_s = 0.0

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
            self.torchserve_ended(None)
            return
        self._live.resume()
        before = self._observer.in_force()
        served = before.models.values() if before is not None else ()
        self._longest_s = max(self._longest_s, *map(longest_request_s, (release, *served)))
        # The earlier controller may have changed the routes a moment before it ended.
        self._in_flight.routes_changed(self._drain_s)
        deadline = time.monotonic() + _ADOPT_S
        while time.monotonic() < deadline and not self._all_checked(release):
            time.sleep(_WAKE_EVERY_S)

    def torchserve_ended(self, why: str | None) -> list[str]:
        """Let the gateway answer 503 by itself: a new TorchServe knows no model yet.

        Returns:
            The archives that it may load as it starts.
        """
        served = self._admission.defaults(self._release) if self._release is not None else []
        self._admission.forget()
        self._probes.follow({}, health=False)
        self._watch.pause()
        self._pause_s = 0.0
        self._live.not_live(why)
        if self._release is not None:
            routed, models = self._release.routed, self._release.models
            private_folder(self._project.routes.parent)
            write_file(self._project.routes, render_routes(self._release, list(routed)))
            clusters = render_clusters(models, self._admission.answer_s, self._ports.inference)
            write_file(self._project.clusters, clusters)
            self._in_flight.routes_changed(self._drain_s)
        return served

    def step(self) -> bool:
        """Bring what is real one step closer; what goes wrong is said once and tried again.

        Returns:
            Whether everything that was asked has answered.
        """
        try:
            complaint, answered = self._step(), True
        except (MarloftError, OSError) as error:
            self._pause_s = _CHANGING_EVERY_S
            self._watch.pause()
            complaint, answered = str(error), False
            self._live.not_live(complaint)
        if complaint is not None and complaint != self._complaint:
            self._report(f"not yet: {complaint}")
        self._complaint = complaint
        return answered

    def wait(self, stop: Stop, hurry: Callable[[], bool]) -> None:
        """Sleep until the next look: at once for a release, a dead worker or a `hurry`."""
        until = time.monotonic() + self._pause_s
        folder = releases_folder(self._project.var)
        while time.monotonic() < until and newest_number(folder) == self._seen:
            if stop.wait(_WAKE_EVERY_S) or hurry() or self._has_news():
                return

    def _has_news(self) -> bool:
        return self._workers.one_ended() or self._live.has_news

    def _step(self) -> str | None:
        """Return what is wrong without being an error."""
        release, damage = self._newest()
        observed = self._observer.observe(release)
        self._workers.note(observed.living)
        decided = reconcile(release, observed)
        failed = [self._act(action, release.release) for action in decided.actions]
        self._archives.look(release)
        self._probe(decided, observed)
        admitted = self._admission.admit_ready(release.release, decided.unchecked)
        is_live = decided.is_live and damage is None
        watches, unwatched = self._judge(release, decided, is_live=is_live)
        self._pause_s = 0.0 if admitted else _pause_s(release, decided)
        self._announcer.announce_changes(
            release, is_live=is_live, refused=decided.refused, resting=observed.resting
        )
        reasons = (damage, *failed, decided.complaint, unwatched)
        complaint = next((why for why in reasons if why), drift(release, observed.registered))
        live = Live(
            time=now(),
            release=release.release,
            live=is_live,
            serving=decided.in_force.numbers,
            versions=self._admission.states(release, observed.registered),
            watches=watches,
            complaint=complaint,
        )
        self._live.publish(live)
        return complaint

    def _act(self, action: Action, number: int) -> str | None:
        """Return why a file could not be written, which holds up no other action."""
        try:
            self._runner.run(action, number, self._drain_s)
        except OSError as error:
            return str(error)
        return None

    def _probe(self, decided: Reconciliation, observed: Observed) -> None:
        """Have asked what the routes lead to."""
        served = decided.in_force.versions().keys() & observed.admitted.keys()
        name = decided.in_force.front.default_model
        default = decided.in_force.models[name].models[name].default
        self._probes.follow(
            {key: observed.answer_s.get(key, 0.0) for key in served},
            health=(name, default) in served,
        )

    def _judge(
        self, release: Release, decided: Reconciliation, *, is_live: bool
    ) -> tuple[dict[str, WatchState], str | None]:
        """Have new versions judged; that it is impossible for a moment stops nothing else."""
        if not is_live and not decided.refused:
            return {}, None
        try:
            return self._watch.judge(release, self._admission.restarts, decided.refused), None
        except (MarloftError, OSError) as error:
            return {}, f"nobody watches the roll-out: {error}"

    def _newest(self) -> tuple[Release, str | None]:
        """Return the newest release; a damaged one leaves what serves, and is complained of."""
        folder = releases_folder(self._project.var)
        self._seen = newest_number(folder)
        try:
            release = read_release(folder, self._seen)
        except (MarloftError, OSError) as error:
            if self._release is None:
                raise
            return self._release, str(error)
        self._take(release)
        return release, None

    def _take(self, release: Release) -> None:
        self._release = release
        # Never less: requests of earlier releases may still be under way.
        self._longest_s = max(self._longest_s, longest_request_s(release))

    @property
    def _drain_s(self) -> float:
        return self._longest_s + DRAIN_GRACE_S

    def _all_checked(self, release: Release) -> bool:
        """Ask what runs and is wanted for its golden answers; whether nothing is left to ask."""
        try:
            unchecked = reconcile(release, self._observer.observe(release)).unchecked
        except ServingError:
            return False
        self._admission.admit_ready(release.release, unchecked)
        return not unchecked


def _pause_s(release: Release, decided: Reconciliation) -> float:
    if decided.is_changing:
        return _CHANGING_EVERY_S
    watched = any(model.rollout or model.allocation for model in release.models.values())
    return _WATCH_EVERY_S if watched else _LOOK_EVERY_S
