"""The pure decision: what to do next so that reality matches the release."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marloft.contract.manifest import WorkerSettings
from marloft.contract.release import Release, ReleasedModel, ReleasedVersion
from marloft.deploy.management import Registered, State
from marloft.deploy.reconcile import (
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

ONE: Key = ("ranker", "1.0")
TWO: Key = ("ranker", "2.0")
OLD: Key = ("ranker", "0.9")
ALL = [ONE, TWO, OLD]
STATES: st.SearchStrategy[State] = st.sampled_from(["ready", "starting"])


def released(*versions: str) -> Release:
    pinned = {v: ReleasedVersion(sha256=v * 16, settings=WorkerSettings()) for v in versions}
    model = ReleasedModel(default=versions[0], versions=pinned)
    return Release(
        release=1,
        time="2026-01-01T00:00:00.000+00:00",
        actor="test",
        reason="test",
        models={"ranker": model},
        default_model="ranker",
    )


def routes_for(release: Release, observed: Observed) -> Projections:
    """Stand in for the gateway's rendering: the versions that routes lead to."""
    missing = unavailable(release, observed)
    live = [v for v in release.models["ranker"].versions if ("ranker", v) not in missing]
    return Projections(routes=",".join(live).encode())


class World:
    """TorchServe and the route file as far as `reconcile` can tell; checks what must never be."""

    def __init__(self, registered: dict[Key, Registered], routes: bytes | None) -> None:
        self.registered = dict(registered)
        self.routes = routes
        self.ready_once = {k for k, r in registered.items() if r.state == "ready"}

    def observe(self) -> Observed:
        ready = frozenset(self.ready_once)
        return Observed(
            registered=dict(self.registered), ready_once=ready, routes=self.routes, drained=True
        )

    def do(self, action: object) -> None:
        match action:
            case Register(model=model, version=version):
                first = not self.registered
                self.registered[model, version] = Registered(state="starting", default=first)
            case WriteRoutes(content=content):
                self.routes = content
            case SetDefault(model=model, version=version):
                for key, found in self.registered.items():
                    mine = key == (model, version)
                    self.registered[key] = Registered(state=found.state, default=mine)
            case Unregister(model=model, version=version):
                assert version.encode() not in (self.routes or b"").split(b","), "still routed to"
                del self.registered[model, version]

    def workers_start(self) -> None:
        for key, found in self.registered.items():
            self.registered[key] = Registered(state="ready", default=found.default)
            self.ready_once.add(key)


@st.composite
def registries(draw: st.DrawFn) -> dict[Key, Registered]:
    """Any set of versions in any state, one of which is the default, as in TorchServe."""
    states = draw(st.dictionaries(st.sampled_from(ALL), STATES))
    default = draw(st.sampled_from(sorted(states))) if states else None
    return {k: Registered(state=s, default=k == default) for k, s in states.items()}


@given(
    registered=registries(),
    routed=st.sampled_from([None, b"", b"1.0", b"0.9", b"0.9,1.0"]),
    wanted=st.sampled_from([("1.0",), ("1.0", "2.0"), ("2.0", "1.0"), ("0.9",)]),
    cut=st.integers(min_value=0, max_value=4),
)
def test_reconcile_converges_from_any_state_and_after_any_cut(
    registered: dict[Key, Registered], routed: bytes | None, wanted: tuple[str, ...], cut: int
) -> None:
    world, release = World(registered, routed), released(*wanted)
    observed = world.observe()
    for action in reconcile(release, observed, routes_for(release, observed))[:cut]:
        world.do(action)
    for _ in range(6):
        world.workers_start()
        observed = world.observe()
        for action in reconcile(release, observed, routes_for(release, observed)):
            world.do(action)
    observed = world.observe()
    assert reconcile(release, observed, routes_for(release, observed)) == []
    assert set(world.registered) == {("ranker", version) for version in wanted}
    assert world.routes == ",".join(wanted).encode()
    assert world.registered["ranker", wanted[0]].default


def test_reconcile_routes_only_to_versions_that_were_ready() -> None:
    release = released("1.0", "2.0")
    ready = Registered(state="ready", default=True)
    starting = Registered(state="starting", default=False)
    observed = Observed(
        registered={ONE: ready, TWO: starting},
        ready_once=frozenset({ONE}),
        routes=None,
        drained=True,
    )
    assert unavailable(release, observed) == [TWO]
    actions = reconcile(release, observed, routes_for(release, observed))
    assert actions == [WriteRoutes(content=b"1.0")]


@pytest.mark.parametrize(
    ("routes", "drained", "old_is_default", "expected"),
    [
        (b"0.9,1.0", True, False, [WriteRoutes(content=b"1.0")]),
        (b"1.0", False, False, []),
        (b"1.0", True, True, [SetDefault(model="ranker", version="1.0")]),
        (b"1.0", True, False, [Unregister(model="ranker", version="0.9")]),
    ],
)
def test_reconcile_removes_a_version_only_when_nothing_needs_it(
    routes: bytes, drained: bool, old_is_default: bool, expected: list[object]
) -> None:
    observed = Observed(
        registered={
            ONE: Registered(state="ready", default=not old_is_default),
            OLD: Registered(state="ready", default=old_is_default),
        },
        ready_once=frozenset({ONE, OLD}),
        routes=routes,
        drained=drained,
    )
    assert reconcile(released("1.0"), observed, Projections(routes=b"1.0")) == expected


def test_world_notices_a_removal_before_the_routes() -> None:
    world = World({OLD: Registered(state="ready", default=True)}, b"0.9")
    with pytest.raises(AssertionError, match="still routed to"):
        world.do(Unregister(model="ranker", version="0.9"))


def test_reconcile_leaves_workflow_nodes_alone() -> None:
    node: Key = ("feed_ab__assign", "1.0")
    ready = Registered(state="ready", default=True)
    observed = Observed(
        registered={ONE: ready, node: ready},
        ready_once=frozenset({ONE, node}),
        routes=b"1.0",
        drained=True,
    )
    assert reconcile(released("1.0"), observed, Projections(routes=b"1.0")) == []


def test_reconcile_replaces_an_allocation_file_only_when_it_differs() -> None:
    observed = Observed(
        registered={ONE: Registered(state="ready", default=True)},
        ready_once=frozenset({ONE}),
        routes=b"1.0",
        drained=True,
        allocations={"same": b"1", "other": b"1"},
    )
    wanted = Projections(routes=b"1.0", allocations={"same": b"1", "other": b"2", "new": b"3"})
    assert reconcile(released("1.0"), observed, wanted) == [
        WriteAllocation(experiment="other", content=b"2"),
        WriteAllocation(experiment="new", content=b"3"),
    ]
