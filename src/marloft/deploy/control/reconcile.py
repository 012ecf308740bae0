"""The pure decision of deployment: everything that one observation leads to."""

from collections.abc import Mapping
from functools import cached_property

from msgspec import Struct

from marloft.contract.manifest import workflow_node
from marloft.contract.release import Key, Release, ReleasedVersion
from marloft.deploy.control.actions import (
    Action,
    Register,
    RegisterWorkflow,
    Scale,
    SetDefault,
    Unregister,
    UnregisterWorkflow,
    WriteAllocation,
    WriteClusters,
    WriteRoutes,
)
from marloft.deploy.control.allocations import render_allocations
from marloft.deploy.control.observe import Observed
from marloft.deploy.gateway.acceptance import Accepted
from marloft.deploy.gateway.clusters import render_clusters, with_earlier
from marloft.deploy.gateway.routes import render_routes
from marloft.deploy.release.in_force import InForce, choose


class Reconciliation(Struct, frozen=True, kw_only=True):
    """What one look decides.

    Attributes:
        actions: what to do next, in order.
        in_force: whose routes there should be meanwhile.
        missing: versions that the release wants loaded, that are not admitted yet and still can be.
        unchecked: registered versions whose workers are READY and whose golden answers nobody has
            asked for; with what they are, by the release that pinned them.
        waiting: what the gateway has been given and has not taken yet.
        leaving: registered versions that go once no request is on its way to them.
        refused: versions of the release that get no traffic, with the reason.
    """

    actions: list[Action]
    in_force: InForce
    missing: list[Key]
    waiting: Mapping[str, Accepted]
    unchecked: Mapping[Key, ReleasedVersion]
    leaving: list[Key]
    refused: Mapping[Key, str]

    @property
    def is_changing(self) -> bool:
        """Whether the next look will see something else."""
        return bool(self.actions or self.missing or self.waiting or self.leaving)

    @property
    def is_live(self) -> bool:
        """Whether what is real is what the release says."""
        return not (self.actions or self.missing or self.waiting or self.refused)

    @property
    def complaint(self) -> str | None:
        """What the gateway should have taken by now."""
        overdue = {what: each.overdue for what, each in self.waiting.items() if each.overdue}
        said = (
            f"the gateway has not taken the {what} of release {self.in_force.label}: {why}"
            for what, why in overdue.items()
        )
        return "; ".join(said) or None


def reconcile(release: Release, observed: Observed) -> Reconciliation:
    """Return the next actions, and what else the comparison shows.

    A version gets routes only when it is admitted, and is removed only after the last request of
    the routes that led to it: TorchServe lets the queued requests of a removed version hang.
    Clusters and routes are in force when the gateway says so, not when they were written.

    Args:
        release: what should be live.
        observed: what is real.

    Raises:
        ReleaseError: a default or an arm of the release names something that it does not hold.
    """
    compared = _Comparison(release, observed)
    return Reconciliation(
        actions=compared.actions(),
        in_force=compared.in_force,
        missing=compared.missing,
        waiting=compared.waiting(),
        unchecked=compared.unchecked(),
        leaving=compared.leaving,
        refused={key: why for key, why in observed.refused.items() if key in compared.wanted},
    )


class _Comparison:
    """One release compared with one observation; each conclusion is drawn once."""

    def __init__(self, release: Release, observed: Observed) -> None:
        self.release, self.observed = release, observed
        self.wanted = release.loaded
        self.in_force = choose(release, observed.before, observed.admitted)
        self.served = self.in_force.versions()

    @cached_property
    def missing(self) -> list[Key]:
        admitted, refused = self.observed.admitted, self.observed.refused
        return [
            key
            for key, pinned in self.wanted.items()
            if admitted.get(key) != pinned.sha256 and key not in refused
        ]

    @cached_property
    def leaving(self) -> list[Key]:
        """What nobody wants, what is refused, and what holds other bytes than the release pins.

        Nodes of workflows are their workflow's.
        """
        return [
            key
            for key in self.observed.registered
            if workflow_node(key[0]) is None and not self._is_needed(key) and self._may_go(key)
        ]

    def waiting(self) -> dict[str, Accepted]:
        given = {"clusters": self.observed.clusters_taken, "routes": self.observed.routes_taken}
        return {what: each for what, each in given.items() if not each.taken}

    def unchecked(self) -> dict[Key, ReleasedVersion]:
        seen = self.observed
        found: dict[Key, ReleasedVersion] = {}
        for pins in (seen.pins, self.wanted):
            for key, pinned in pins.items():
                known = key in seen.admitted or key in seen.refused
                registered = seen.registered.get(key)
                ready = registered is not None and registered.state == "ready"
                if ready and not known and seen.held.get(key) == pinned.sha256:
                    found.setdefault(key, pinned)
        return found

    def actions(self) -> list[Action]:
        unavailable = [
            key
            for key, pinned in self.served.items()
            if self.observed.admitted.get(key) != pinned.sha256
        ]
        routes = render_routes(
            self.in_force.front,
            unavailable,
            resting=self.observed.resting,
            in_force=self.in_force,
            answer_s=self.observed.answer_s,
        )
        are_in_force = self.observed.routes == routes and self.observed.routes_taken.taken
        actions = self._registrations()
        actions += self._gateway(routes, are_in_force=are_in_force)
        actions += [*self._allocations(), *self._scaled(), *self._defaults()]
        if are_in_force:
            gone = [key for key in self.leaving if key in self.observed.drained]
            actions += [Unregister(model=name, version=version) for name, version in gone]
        return actions + self._workflows()

    def _gateway(self, routes: bytes, *, are_in_force: bool) -> list[Action]:
        """Give the gateway clusters before routes lead to them; drop some after no route does."""
        seen = self.observed
        models = {name: each.models[name] for name, each in self.in_force.models.items()}
        clusters = render_clusters(models, seen.answer_s, seen.inference_port)
        if not are_in_force:
            clusters = with_earlier(seen.clusters, clusters)
        if seen.clusters != clusters or seen.clusters_taken.again:
            return [WriteClusters(content=clusters)]
        is_due = seen.routes != routes or seen.routes_taken.again
        return [WriteRoutes(content=routes)] if is_due and seen.clusters_taken.taken else []

    def _registrations(self) -> list[Action]:
        """Starting workers compete for the cores: defaults first, they alone can answer all."""
        defaults = {(name, model.default) for name, model in self.release.models.items()}
        stages = (defaults, set(self.release.routed))
        lacking = set(self.missing)
        stage = next((each for each in stages if each & lacking), set(self.wanted))
        return [
            Register(model=key[0], version=key[1], pinned=pinned)
            for key, pinned in self.wanted.items()
            if key in stage
            and key not in self.observed.registered
            and key not in self.observed.refused
        ]

    def _allocations(self) -> list[Action]:
        rendered = render_allocations(self.release, self.observed.ended)
        return [
            WriteAllocation(experiment=name, content=content)
            for name, content in rendered.items()
            if self.observed.allocations.get(name) != content
        ]

    def _scaled(self) -> list[Action]:
        registered = self.observed.registered
        return [
            Scale(model=key[0], version=key[1], workers=pinned.settings.workers)
            for key, pinned in self.wanted.items()
            if key in self.observed.admitted
            and registered[key].min_workers != pinned.settings.workers
        ]

    def _defaults(self) -> list[Action]:
        """Give TorchServe the defaults in force, and stand-ins for defaults that should go."""
        seen = self.observed
        in_force = self.in_force.models
        defaults = [(name, release.models[name].default) for name, release in in_force.items()]
        running = [key for key in defaults if key in seen.admitted]
        moved = [
            key for key in running if key in seen.registered and not seen.registered[key].default
        ]
        answered = {name for name, _ in running}
        moved += [key for key in self._stand_ins() if key[0] not in answered]
        return [SetDefault(model=name, version=version) for name, version in moved]

    def _stand_ins(self) -> list[Key]:
        """Return who takes over from a default that should go: TorchServe keeps a default."""
        seen = self.observed
        found: list[Key] = []
        for key, registered in seen.registered.items():
            if registered.default and not self._is_needed(key):
                others = (each for each in seen.admitted if each[0] == key[0] and each != key)
                needed = (each for each in others if self._is_needed(each))
                found += [each for each in needed if each in seen.registered][:1]
        return found

    def _workflows(self) -> list[Action]:
        seen = self.observed
        actions: list[Action] = [
            UnregisterWorkflow(name=name) for name in sorted(seen.workflows & seen.retired)
        ]
        if not self.missing:
            absent = [name for name in self.release.workflows if name not in seen.workflows]
            actions += [RegisterWorkflow(name=name) for name in absent]
        return actions

    def _is_needed(self, key: Key) -> bool:
        served = self.served.get(key)
        if served is not None and self.observed.admitted.get(key) == served.sha256:
            return True
        pinned = self.wanted.get(key)
        if pinned is None or key in self.observed.refused:
            return False
        return self.observed.held.get(key, pinned.sha256) == pinned.sha256

    def _may_go(self, key: Key) -> bool:
        """TorchServe keeps the default version of a model until it is the only one."""
        registered = self.observed.registered
        others = [other for other in registered if other[0] == key[0] and other != key]
        return not (registered[key].default and others)
