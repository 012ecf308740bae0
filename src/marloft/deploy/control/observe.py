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
from marloft.deploy.gateway.in_flight import InFlight
from marloft.deploy.gateway.route_file import routes_label
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
            was registered: only these get traffic. A worker that restarts does not take its
            version out of the routes, since the gateway retries meanwhile.
        held: the SHA-256 of each registered version, as far as it is known.
        refused: versions that may not be loaded, with the reason.
        routes: the gateway's route file.
        before: what the route file says is in force; None for no routes, or none of ours.
        drained: versions to which the gateway has no request under way, and none can come.
        allocations: the assign nodes' files by experiment.
        ended: the last split of each experiment that has a file and runs no more.
        workflows: the registered workflows.
        retired: workflows that an earlier release named and the newest does not.
    """

    registered: Mapping[Key, Registered]
    admitted: Mapping[Key, str] = {}
    held: Mapping[Key, str] = {}
    refused: Mapping[Key, str] = {}
    routes: bytes | None = None
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
        admission: Admission,
    ) -> None:
        """Take what is asked."""
        self._project, self._models, self._workflows = project, models, workflows
        self._in_flight, self._admission = in_flight, admission
        self._releases = releases_folder(project.var)
        self._retired = RetiredWorkflows(self._releases)

    def observe(self, release: Release) -> Observed:
        """Return what is real while `release` is to be live.

        Raises:
            ServingError: TorchServe does not answer.
        """
        registered = self._models.registered()
        routes = self._routes()
        before = self._in_force(routes)
        # What the routes lead to comes first: after a restart those are the bytes that run.
        pins = [before.versions() if before is not None else {}, release.loaded]
        self._admission.track(release.release, pins, registered)
        refused = self._admission.refused
        files = self._allocations()
        retired = self._retired.of(release)
        asks_workflows = bool(release.workflows or retired)
        return Observed(
            registered=registered,
            admitted={k: sha for k, sha in self._admission.admitted.items() if k not in refused},
            held=dict(self._admission.held),
            refused=refused,
            routes=routes,
            before=before,
            drained=self._in_flight.drained(registered),
            allocations=files,
            ended=last_allocations(self._releases, release, files),
            workflows=frozenset(self._workflows.registered() if asks_workflows else ()),
            retired=retired,
        )

    def in_force(self) -> InForce | None:
        """Return what the route file says is in force, None when it says nothing."""
        return self._in_force(self._routes())

    def _routes(self) -> bytes | None:
        path = self._project.routes
        return path.read_bytes() if path.is_file() else None

    def _in_force(self, routes: bytes | None) -> InForce | None:
        if routes is None:
            return None
        try:
            return read_label(routes_label(routes), lambda n: read_release(self._releases, n))
        except MarloftError:
            # An older release that cannot be read any more cannot be kept serving by its number.
            return None

    def _allocations(self) -> dict[str, bytes]:
        files = self._project.allocations.glob("*.json")
        return {path.stem: path.read_bytes() for path in files}


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
