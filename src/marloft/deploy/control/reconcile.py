"""The pure heart of deployment: what to do next so that reality matches the release."""

from collections.abc import Mapping, Set

from msgspec import Struct

from marloft.contract.release import Key, Release, ReleasedVersion
from marloft.deploy.release.in_force import InForce
from marloft.deploy.torchserve.management import Registered


class Observed(Struct, frozen=True, kw_only=True):
    """What is real now.

    Attributes:
        registered: what TorchServe says it holds.
        loaded: the SHA-256 of each version that was READY and gave its golden answers since it
            was registered: only these get traffic. A worker that restarts does not take its
            version out of the routes, since the gateway retries meanwhile.
        held: the SHA-256 of each registered version, as far as it is known.
        refused: versions of the release that may not be loaded, with the reason.
        routes: the gateway's route file.
        drained: versions to which the gateway has no request under way, and none can come.
        allocations: the assign nodes' files by experiment.
        workflows: the registered workflows.
        retired: workflows that an earlier release named and the newest does not.
    """

    registered: Mapping[Key, Registered]
    loaded: Mapping[Key, str] = {}
    held: Mapping[Key, str] = {}
    refused: Mapping[Key, str] = {}
    routes: bytes | None = None
    drained: Set[Key] = frozenset()
    allocations: Mapping[str, bytes] = {}
    workflows: Set[str] = frozenset()
    retired: Set[str] = frozenset()


class Projections(Struct, frozen=True, kw_only=True):
    """What the releases in force look like to the gateway, the release to assign nodes."""

    routes: bytes
    allocations: Mapping[str, bytes] = {}


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


class WriteRoutes(Struct, frozen=True, kw_only=True):
    """Replace the gateway's route file."""

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
    | WriteRoutes
    | WriteAllocation
    | RegisterWorkflow
    | UnregisterWorkflow
    | Unregister
)


def wanted(release: Release) -> dict[Key, ReleasedVersion]:
    """Return every version that the release wants loaded: those with traffic, then those ready."""
    return active(release) | {
        (name, version): pinned
        for name, model in release.models.items()
        for version, pinned in model.standby.items()
    }


def active(release: Release) -> dict[Key, ReleasedVersion]:
    """Return every version of the release that a route leads to."""
    return {
        (name, version): pinned
        for name, model in release.models.items()
        for version, pinned in model.versions.items()
    }


def defaults(release: Release) -> dict[Key, ReleasedVersion]:
    """Return the default version of each model of the release."""
    return {
        (name, model.default): model.versions[model.default]
        for name, model in release.models.items()
    }


def unavailable(in_force: InForce, observed: Observed) -> list[Key]:
    """Return the versions of the releases in force that may get no traffic."""
    return [
        key
        for key, pinned in in_force.versions().items()
        if observed.loaded.get(key) != pinned.sha256
    ]


def missing(release: Release, observed: Observed) -> list[Key]:
    """Return what the release wants loaded, and can still be, and is not yet."""
    return [
        key
        for key, pinned in wanted(release).items()
        if observed.loaded.get(key) != pinned.sha256 and key not in observed.refused
    ]


def reconcile(
    release: Release, observed: Observed, in_force: InForce, projections: Projections
) -> list[Action]:
    """Return the next actions in order.

    Args:
        release: what should be live.
        observed: what is live.
        in_force: `choose(release, …)`: whose routes there should be meanwhile.
        projections: the routes of `in_force` without its unavailable versions; allocation files.

    A version gets routes only when it is loaded, and is removed only after the last request of
    the routes that led to it: TorchServe lets the queued requests of a removed version hang.
    """
    actions = _registrations(release, observed)
    if observed.routes != projections.routes:
        actions.append(WriteRoutes(content=projections.routes))
    actions += [
        WriteAllocation(experiment=name, content=content)
        for name, content in projections.allocations.items()
        if observed.allocations.get(name) != content
    ]
    actions += _scaled(release, observed)
    actions += _defaults(release, observed, in_force)
    if observed.routes == projections.routes:
        actions += [
            Unregister(model=key[0], version=key[1])
            for key in leftovers(release, observed, in_force)
            if key in observed.drained
        ]
    actions += [UnregisterWorkflow(name=n) for n in sorted(observed.workflows & observed.retired)]
    if not missing(release, observed):
        actions += [
            RegisterWorkflow(name=name)
            for name in release.workflows
            if name not in observed.workflows
        ]
    return actions


def _registrations(release: Release, observed: Observed) -> list[Action]:
    """Starting workers compete for the cores: defaults first, they alone can answer everybody."""
    lacking = missing(release, observed)
    stages = (defaults(release), active(release))
    stage = next((each for each in stages if any(key in each for key in lacking)), wanted(release))
    return [
        Register(model=key[0], version=key[1], pinned=pinned)
        for key, pinned in stage.items()
        if key not in observed.registered and key not in observed.refused
    ]


def _scaled(release: Release, observed: Observed) -> list[Action]:
    return [
        Scale(model=key[0], version=key[1], workers=pinned.settings.workers)
        for key, pinned in wanted(release).items()
        if key in observed.loaded
        and observed.registered[key].min_workers != pinned.settings.workers
    ]


def _defaults(release: Release, observed: Observed, in_force: InForce) -> list[Action]:
    actions: list[Action] = []
    for name, served in in_force.models.items():
        key = (name, served.models[name].default)
        current = observed.registered.get(key)
        if key in observed.loaded and current is not None and not current.default:
            actions.append(SetDefault(model=name, version=key[1]))
    moved = {
        name for name, served in in_force.models.items() if _default_runs(name, served, observed)
    }
    return actions + [
        SetDefault(model=name, version=version)
        for name, version in _stand_ins(release, observed, in_force)
        if name not in moved
    ]


def _default_runs(name: str, served: Release, observed: Observed) -> bool:
    return (name, served.models[name].default) in observed.loaded


def _stand_ins(release: Release, observed: Observed, in_force: InForce) -> list[Key]:
    """Return who takes over from a default that should go: TorchServe keeps a default."""
    found: list[Key] = []
    for key, registered in observed.registered.items():
        if registered.default and not _is_needed(key, release, observed, in_force):
            ready = (other for other in observed.loaded if other[0] == key[0] and other != key)
            needed = (other for other in ready if _is_needed(other, release, observed, in_force))
            found += [other for other in needed if other in observed.registered][:1]
    return found


def leftovers(release: Release, observed: Observed, in_force: InForce) -> list[Key]:
    """Return the registered versions that may be removed once no request is on its way to them.

    These are what nobody wants, what is refused, and what holds other bytes than the release pins.
    Nodes of workflows are their workflow's.
    """
    return [
        key
        for key in observed.registered
        if "__" not in key[0]
        and not _is_needed(key, release, observed, in_force)
        and _may_go(key, observed)
    ]


def _is_needed(key: Key, release: Release, observed: Observed, in_force: InForce) -> bool:
    served = in_force.versions().get(key)
    if served is not None and observed.loaded.get(key) == served.sha256:
        return True
    pinned = wanted(release).get(key)
    if pinned is None or key in observed.refused:
        return False
    return observed.held.get(key, pinned.sha256) == pinned.sha256


def _may_go(key: Key, observed: Observed) -> bool:
    """TorchServe keeps the default version of a model until it is the only one."""
    others = [other for other in observed.registered if other[0] == key[0] and other != key]
    return not (observed.registered[key].default and others)
