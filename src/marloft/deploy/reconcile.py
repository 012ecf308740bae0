"""The pure heart of deployment: what to do next so that reality matches the release."""

from collections.abc import Mapping

from msgspec import Struct

from marloft.contract.release import Release, ReleasedVersion
from marloft.deploy.management import Registered

Key = tuple[str, str]


class Observed(Struct, frozen=True, kw_only=True):
    """What is real now.

    `ready_once` holds the versions that have been READY since TorchServe started: a worker that
    restarts does not take its version out of the routes, since the gateway retries meanwhile.
    `allocations` holds the assign nodes' files by experiment. `drained` says that the routes have
    been as they are for longer than any request lasts.
    """

    registered: Mapping[Key, Registered]
    ready_once: frozenset[Key]
    routes: bytes | None
    drained: bool
    allocations: Mapping[str, bytes] = {}


class Projections(Struct, frozen=True, kw_only=True):
    """What the release looks like to the gateway and to workflows' assign nodes."""

    routes: bytes
    allocations: Mapping[str, bytes] = {}


class Register(Struct, frozen=True, kw_only=True):
    """Register a version and start its workers."""

    model: str
    version: str
    pinned: ReleasedVersion


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


class Unregister(Struct, frozen=True, kw_only=True):
    """Remove a version that no route leads to any more."""

    model: str
    version: str


Action = Register | SetDefault | WriteRoutes | WriteAllocation | Unregister


def unavailable(release: Release, observed: Observed) -> list[Key]:
    """Return the released versions that may get no traffic yet."""
    return [key for key in _wanted(release) if key not in observed.ready_once]


def reconcile(release: Release, observed: Observed, wanted: Projections) -> list[Action]:
    """Return the next actions in order; an empty list means reality is the release.

    Args:
        release: what should be live.
        observed: what is live.
        wanted: the projections of `release`, the routes without `unavailable(release, observed)`.

    A version is routed to only after it was READY, and removed only after the last request of
    the routes that led to it: TorchServe lets the queued requests of a removed version hang.
    """
    versions = _wanted(release)
    actions: list[Action] = [
        Register(model=model, version=version, pinned=versions[model, version])
        for model, version in versions
        if (model, version) not in observed.registered
    ]
    if observed.routes != wanted.routes:
        actions.append(WriteRoutes(content=wanted.routes))
    actions += [
        WriteAllocation(experiment=name, content=content)
        for name, content in wanted.allocations.items()
        if observed.allocations.get(name) != content
    ]
    actions += _defaults(release, observed)
    if observed.routes == wanted.routes and observed.drained:
        actions += [
            Unregister(model=model, version=version)
            for (model, version), found in observed.registered.items()
            if (model, version) not in versions and not found.default and "__" not in model
        ]
    return actions


def _wanted(release: Release) -> dict[Key, ReleasedVersion]:
    return {
        (name, version): pinned
        for name, model in release.models.items()
        for version, pinned in model.versions.items()
    }


def _defaults(release: Release, observed: Observed) -> list[Action]:
    actions: list[Action] = []
    for name, model in release.models.items():
        current = observed.registered.get((name, model.default))
        if current is not None and current.state == "ready" and not current.default:
            actions.append(SetDefault(model=name, version=model.default))
    return actions
