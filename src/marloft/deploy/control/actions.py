"""The actions, and the only place that performs them on TorchServe, routes and allocations."""

from msgspec import Struct

from marloft.contract.allocation import allocation_path
from marloft.contract.manifest import archive_path
from marloft.contract.release import ReleasedVersion
from marloft.deploy.control.admission import Admission, other_bytes
from marloft.deploy.events import append_event
from marloft.deploy.gateway.discovery_files import write_file
from marloft.deploy.gateway.in_flight import InFlight
from marloft.deploy.project import Project, Report
from marloft.deploy.release.resolve import holds
from marloft.deploy.torchserve.management import ManagementApi, RefusedError
from marloft.deploy.torchserve.workflows import WorkflowApi
from marloft.files import PRIVATE, write_atomic


class Register(Struct, frozen=True, kw_only=True):
    """Register a version and start its workers."""

    model: str
    version: str
    pinned: ReleasedVersion


class Scale(Struct, frozen=True, kw_only=True):
    """Change how many workers a version has."""

    model: str
    version: str
    workers: int


class SetDefault(Struct, frozen=True, kw_only=True):
    """Make a version TorchServe's own default (used without the gateway)."""

    model: str
    version: str


class WriteClusters(Struct, frozen=True, kw_only=True):
    """Replace the gateway's cluster file, or write it again because it was not taken."""

    content: bytes


class WriteRoutes(Struct, frozen=True, kw_only=True):
    """Replace the gateway's route file, or write it again because the gateway has not taken it."""

    content: bytes


class WriteAllocation(Struct, frozen=True, kw_only=True):
    """Replace one experiment's allocation file."""

    experiment: str
    content: bytes


class RegisterWorkflow(Struct, frozen=True, kw_only=True):
    """Register a workflow of the model store."""

    name: str


class UnregisterWorkflow(Struct, frozen=True, kw_only=True):
    """Remove a workflow that a release named once and none in force does."""

    name: str


class Unregister(Struct, frozen=True, kw_only=True):
    """Remove a version that no route leads to any more."""

    model: str
    version: str


Action = (
    Register
    | Scale
    | SetDefault
    | WriteClusters
    | WriteRoutes
    | WriteAllocation
    | RegisterWorkflow
    | UnregisterWorkflow
    | Unregister
)


class ActionRunner:
    """Performs actions one by one and tells people of each; raises ServingError, OSError."""

    def __init__(
        self,
        project: Project,
        api: ManagementApi,
        workflows: WorkflowApi,
        admission: Admission,
        in_flight: InFlight,
        report: Report,
    ) -> None:
        """Take what the actions need."""
        self._project, self._api, self._workflows = project, api, workflows
        self._admission, self._in_flight, self._report = admission, in_flight, report

    def run(self, action: Action, number: int, drain_s: float) -> None:
        """Perform one action.

        Args:
            action: what to do.
            number: the release that it is done for.
            drain_s: the most that a request of the routes so far can last, and a grace.
        """
        match action:
            case Register(model=model, version=version, pinned=pinned):
                self._register(number, model, version, pinned)
            case Scale(model=model, version=version, workers=workers):
                self._api.scale(model, version, workers)
                append_event(self._project.var, "scale", model=model, version=version, to=workers)
                self._report(f"scale {model} {version} to {workers}")
            case WriteClusters(content=content):
                write_file(self._project.clusters, content)
            case WriteRoutes(content=content):
                self._write_routes(content, drain_s)
            case WriteAllocation(experiment=experiment, content=content):
                write_atomic(allocation_path(self._project.var, experiment), content, PRIVATE)
                append_event(self._project.var, "allocation", experiment=experiment)
            case SetDefault(model=model, version=version):
                self._api.set_default(model, version)
                self._note("set default", model, version)
            case RegisterWorkflow(name=name):
                self._workflows.register(f"{name}.war")
                append_event(self._project.var, "register workflow", workflow=name)
                self._report(f"register workflow {name}")
            case UnregisterWorkflow(name=name):
                self._workflows.unregister(name)
                append_event(self._project.var, "unregister workflow", workflow=name)
                self._report(f"unregister workflow {name}")
            case Unregister(model=model, version=version):
                under_way = (self._in_flight.counts() or {}).get((model, version), 0)
                self._api.unregister(model, version)
                self._note("unregister", model, version, in_flight=under_way)

    def _write_routes(self, content: bytes, drain_s: float) -> None:
        """Put a route file in place; what the old one led to drains from now on."""
        path = self._project.routes
        again = path.is_file() and path.read_bytes() == content
        write_file(path, content)
        self._in_flight.routes_changed(drain_s)
        if not again:
            append_event(self._project.var, "routes")

    def _register(self, number: int, model: str, version: str, pinned: ReleasedVersion) -> None:
        """Register the bytes that the release decided on, and no others."""
        key, path = (model, version), archive_path(self._project.store, model, version)
        if not holds(path, pinned):
            self._admission.refuse(number, key, other_bytes(path, pinned, number), again=False)
            return
        try:
            self._api.register(path.name, pinned.settings)
        except RefusedError as error:
            self._admission.refuse(number, key, str(error), again=True)
            return
        self._admission.registered(key, pinned.sha256)
        self._note("register", model, version)

    def _note(self, what: str, model: str, version: str, **facts: int) -> None:
        append_event(self._project.var, what, model=model, version=version, **facts)
        self._report(f"{what} {model} {version}")
