"""What is real now: asked of TorchServe, the gateway and the files that the controller writes."""

from collections.abc import Mapping, Set
from pathlib import Path

from msgspec import Struct

from marloft.contract.allocation import AllocationFile
from marloft.contract.release import (
    Key,
    Release,
    ReleasedVersion,
    read_release,
    releases_folder,
)
from marloft.deploy.control.admission import Admission
from marloft.deploy.control.allocations import last_allocations
from marloft.deploy.control.liveness import living
from marloft.deploy.gateway.acceptance import Acceptance, Accepted
from marloft.deploy.gateway.discovery_files import file_version
from marloft.deploy.gateway.in_flight import InFlight
from marloft.deploy.ports import Ports
from marloft.deploy.project import Project
from marloft.deploy.release.in_force import InForce, read_label
from marloft.deploy.torchserve.management import ManagementApi, Registered
from marloft.deploy.torchserve.workflows import WorkflowApi
from marloft.errors import MarloftError


class Observed(Struct, frozen=True, kw_only=True):
    """What is real now.

    Attributes:
        registered: what TorchServe says it holds.
        admitted: the SHA-256 of each version that was READY and gave its golden answers since it
            was registered: only these get traffic. One whose worker restarts stays admitted, since
            it runs the same bytes.
        living: the processes of READY workers that live.
        resting: admitted versions of which no READY worker lives; as long as that lasts, no split
            sends users there.
        held: the SHA-256 of each registered version, as far as it is known.
        refused: versions that may not be loaded, with the reason.
        answer_s: seconds of a worker for each answer of a version, as far as they are known.
        inference_port: TorchServe's, which clusters lead to.
        clusters, routes: the gateway's files.
        clusters_taken, routes_taken: whether the gateway has taken them.
        before: what the route file says is in force; None for no routes, or none of ours.
        drained: versions to which the gateway has no request under way, and none can come.
        allocations: the assign nodes' files by experiment.
        ended: the last split of each experiment that has a file and runs no more.
        workflows: the registered workflows.
        retired: workflows that an earlier release named and the newest does not.
    """

    registered: Mapping[Key, Registered]
    admitted: Mapping[Key, str] = {}
    living: Set[int] = frozenset()
    resting: Set[Key] = frozenset()
    held: Mapping[Key, str] = {}
    refused: Mapping[Key, str] = {}
    answer_s: Mapping[Key, float] = {}
    inference_port: int = Ports().inference
    clusters: bytes | None = None
    clusters_taken: Accepted = Accepted(taken=False)
    routes: bytes | None = None
    routes_taken: Accepted = Accepted(taken=False)
    before: InForce | None = None
    drained: Set[Key] = frozenset()
    allocations: Mapping[str, bytes] = {}
    ended: Mapping[str, AllocationFile] = {}
    workflows: Set[str] = frozenset()
    retired: Set[str] = frozenset()

    @property
    def pins(self) -> dict[Key, ReleasedVersion]:
        """The versions that the routes in force lead to."""
        return self.before.versions() if self.before is not None else {}


class Observer:
    """Asks, and changes nothing outside of this process."""

    def __init__(
        self,
        project: Project,
        models: ManagementApi,
        workflows: WorkflowApi,
        in_flight: InFlight,
        acceptance: Acceptance,
        admission: Admission,
        ports: Ports,
    ) -> None:
        """Take what is asked."""
        self._project, self._models, self._workflows = project, models, workflows
        self._in_flight, self._acceptance, self._admission = in_flight, acceptance, admission
        self._ports = ports
        self._releases = releases_folder(project.var)
        self._retired = RetiredWorkflows(self._releases)

    def observe(self, release: Release) -> Observed:
        """Return what is real while `release` is to be live.

        Raises:
            ServingError: TorchServe does not answer.
        """
        registered = self._models.registered()
        clusters, routes = _content(self._project.clusters), _content(self._project.routes)
        before = self._in_force(routes)
        taken = self._acceptance.look({"clusters": clusters, "routes": routes})
        if not taken["routes"].taken:
            self._in_flight.routes_pending()
        # What the routes lead to comes first: after a restart those are the bytes that run.
        pins = [before.versions() if before is not None else {}, release.loaded]
        self._admission.track(release.release, pins, registered)
        refused = self._admission.refused
        files = self._allocations()
        retired = self._retired.of(release)
        asks_workflows = bool(release.workflows or retired)
        admitted = {k: sha for k, sha in self._admission.admitted.items() if k not in refused}
        alive = living(pid for found in registered.values() for pid in found.ready_processes)
        return Observed(
            registered=registered,
            admitted=admitted,
            living=alive,
            resting={key for key in admitted if not registered[key].ready_processes & alive},
            held=dict(self._admission.held),
            refused=refused,
            answer_s=self._admission.answer_s,
            inference_port=self._ports.inference,
            clusters=clusters,
            clusters_taken=taken["clusters"],
            routes=routes,
            routes_taken=taken["routes"],
            before=before,
            drained=self._in_flight.drained(registered),
            allocations=files,
            ended=last_allocations(self._releases, release, files),
            workflows=frozenset(self._workflows.registered() if asks_workflows else ()),
            retired=retired,
        )

    def in_force(self) -> InForce | None:
        """Return what the route file says is in force, None when it says nothing."""
        return self._in_force(_content(self._project.routes))

    def _in_force(self, routes: bytes | None) -> InForce | None:
        if routes is None:
            return None
        try:
            return read_label(file_version(routes), lambda n: read_release(self._releases, n))
        except MarloftError:
            # An older release that cannot be read any more cannot be kept serving by its number.
            return None

    def _allocations(self) -> dict[str, bytes]:
        files = self._project.allocations.glob("*.json")
        return {path.stem: content for path in files if (content := _content(path)) is not None}


def _content(path: Path) -> bytes | None:
    """Return a file's content, None for one that cannot be read: it is written again."""
    try:
        return path.read_bytes()
    except OSError:
        return None


class RetiredWorkflows:
    """Which workflows have left the releases; what no release ever named is somebody else's."""

    def __init__(self, releases: Path) -> None:
        """Read nothing yet; each earlier release is read once."""
        self._releases = releases
        self._read_to = 1
        self._named: set[str] = set()

    def of(self, release: Release) -> frozenset[str]:
        """Return the workflows that a release before `release` named and it does not."""
        for number in range(self._read_to, release.release):
            try:
                self._named.update(read_release(self._releases, number).workflows)
            except MarloftError:
                # Of the past: a damaged file there must not hold up what is to be live now.
                continue
        self._read_to = max(self._read_to, release.release)
        return frozenset(self._named.difference(release.workflows))
