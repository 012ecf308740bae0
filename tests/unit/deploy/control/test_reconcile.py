"""The pure decision: what to do next so that reality matches the release."""

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marloft.contract.manifest import WorkerSettings
from marloft.contract.release import Allocation, Arm, Key, Release, ReleasedModel, ReleasedVersion
from marloft.deploy.control.reconcile import (
    Action,
    Observed,
    Projections,
    Register,
    RegisterWorkflow,
    Scale,
    SetDefault,
    Unregister,
    UnregisterWorkflow,
    WriteAllocation,
    WriteRoutes,
    leftovers,
    missing,
    reconcile,
    unavailable,
    wanted,
)
from marloft.deploy.release.in_force import InForce, choose, read_label, whole
from marloft.deploy.torchserve.management import Registered, State
from tests.releases import made_release

ONE: Key = ("ranker", "1.0")
TWO: Key = ("ranker", "2.0")
OLD: Key = ("ranker", "0.9")
ALL = [ONE, TWO, OLD]
STATES: st.SearchStrategy[State] = st.sampled_from(["ready", "starting"])
READY = Registered(state="ready", default=True)
OTHER = Registered(state="ready", default=False)


def sha(version: str) -> str:
    return version * 16


def pin(version: str, workers: int = 1) -> ReleasedVersion:
    return ReleasedVersion(sha256=sha(version), settings=WorkerSettings(workers=workers))


def released(
    *versions: str, number: int = 1, standby: tuple[str, ...] = (), split: bool = False
) -> Release:
    """Return a release of one model; the first version is the default, all are arms if `split`."""
    arms = [Arm(name=f"arm{n}", version=v, weight=1) for n, v in enumerate(versions)]
    model = ReleasedModel(
        default=versions[0],
        versions={version: pin(version) for version in versions},
        standby={version: pin(version) for version in standby},
        allocation=Allocation(name="test", salt="s", unit="user_id", arms=arms) if split else None,
    )
    return made_release({"ranker": model}, number)


def rendered(in_force: InForce, observed: Observed) -> bytes:
    """Stand in for the gateway's rendering: the number, and the versions that routes lead to."""
    gone = unavailable(in_force, observed)
    versions = [version for name, version in in_force.versions() if (name, version) not in gone]
    return f"{in_force.label}:{','.join(versions)}".encode()


def routed(routes: bytes | None) -> set[Key]:
    listed = (routes or b":").decode().split(":")[1]
    return {("ranker", version) for version in listed.split(",") if version}


class World:
    """TorchServe and the route file as far as `reconcile` can tell; checks what must never be."""

    def __init__(
        self,
        releases: Mapping[int, Release],
        registered: Mapping[Key, Registered],
        routes: bytes | None,
        bad: frozenset[Key] = frozenset(),
    ) -> None:
        self.releases, self.registered, self.routes = releases, dict(registered), routes
        self.bad = bad
        self.loaded = {k: sha(k[1]) for k, r in registered.items() if r.state == "ready"}
        self.loaded = {k: v for k, v in self.loaded.items() if k not in bad}

    def look(self, release: Release) -> tuple[Observed, InForce, list[Action]]:
        refused = {key: "bad" for key in self.bad if key in wanted(release)}
        observed = Observed(
            registered=dict(self.registered),
            loaded=dict(self.loaded),
            refused=refused,
            routes=self.routes,
            drained=frozenset(set(self.registered) - routed(self.routes)),
        )
        before = None
        if self.routes is not None:
            before = read_label(self.routes.decode().split(":")[0], self.releases.__getitem__)
        in_force = choose(release, before, self.loaded)
        projections = Projections(routes=rendered(in_force, observed))
        return observed, in_force, reconcile(release, observed, in_force, projections)

    def do(self, action: Action) -> None:
        match action:
            case Register(model=model, version=version):
                first = not self.registered
                self.registered[model, version] = Registered(state="starting", default=first)
            case WriteRoutes(content=content):
                assert routed(content) <= set(self.loaded), "routed to what cannot serve"
                self.routes = content
            case SetDefault(model=model, version=version):
                for key, found in self.registered.items():
                    mine = key == (model, version)
                    self.registered[key] = Registered(state=found.state, default=mine)
            case Unregister(model=model, version=version):
                key = (model, version)
                assert key not in routed(self.routes), "still routed to"
                others = len(self.registered) > 1
                assert not (self.registered[key].default and others), "TorchServe's default"
                del self.registered[key]
                self.loaded.pop(key, None)
            case _:
                raise AssertionError(f"unexpected {action}")

    def workers_start(self) -> None:
        for key, found in self.registered.items():
            self.registered[key] = Registered(state="ready", default=found.default)
            if key not in self.bad:
                self.loaded[key] = sha(key[1])


@st.composite
def registries(draw: st.DrawFn) -> dict[Key, Registered]:
    """Any set of versions in any state, one of which is the default, as in TorchServe."""
    states = draw(st.dictionaries(st.sampled_from(ALL), STATES))
    default = draw(st.sampled_from(sorted(states))) if states else None
    return {k: Registered(state=s, default=k == default) for k, s in states.items()}


WANTED = st.sampled_from(
    [
        released("1.0", number=7),
        released("1.0", "2.0", number=7),
        released("2.0", "1.0", number=7, split=True),
        released("0.9", number=7),
        released("2.0", number=7, standby=("1.0",)),
    ]
)
BEFORE = st.sampled_from([released("0.9", number=6), released("1.0", "0.9", number=6)])


@settings(max_examples=400, deadline=None)
@given(
    registered=registries(),
    release=WANTED,
    before=BEFORE,
    serves_before=st.booleans(),
    bad=st.sampled_from([frozenset(), frozenset({TWO}), frozenset({ONE})]),
    cuts=st.lists(st.integers(min_value=0, max_value=4), max_size=4),
)
def test_reconcile_converges_from_any_state_and_after_any_cut(
    registered: dict[Key, Registered],
    release: Release,
    before: Release,
    serves_before: bool,
    bad: frozenset[Key],
    cuts: list[int],
) -> None:
    world = World({6: before, 7: release}, registered, None, bad)
    if serves_before:
        loaded = [key[1] for key in whole(before).versions() if key in world.loaded]
        world.routes = f"6:{','.join(loaded)}".encode()
    for cut in cuts:
        # The controller is killed after `cut` actions; the next one only looks.
        for action in world.look(release)[2][:cut]:
            world.do(action)
    for _ in range(8):
        for action in world.look(release)[2]:
            world.do(action)
        world.workers_start()
    observed, in_force, actions = world.look(release)
    assert actions == []
    assert missing(release, observed) == []
    good = set(wanted(release)) - bad
    if good:
        assert not set(observed.refused) & set(world.registered), "a refused version runs on"
    assert good <= set(world.registered)
    if not bad & set(wanted(release)):
        assert in_force == whole(release)
        assert set(world.registered) == set(wanted(release))
        default = release.models["ranker"].default
        assert world.registered["ranker", default].default
    assert routed(world.routes) == set(in_force.versions()) & set(world.loaded)
    assert good & set(in_force.versions()) <= routed(world.routes)
    assert leftovers(release, observed, in_force) == []


def test_world_notices_what_must_never_be() -> None:
    world = World({}, {OLD: READY, ONE: OTHER}, b"6:0.9")
    with pytest.raises(AssertionError, match="still routed to"):
        world.do(Unregister(model="ranker", version="0.9"))
    with pytest.raises(AssertionError, match="cannot serve"):
        world.do(WriteRoutes(content=b"7:2.0"))


def observe(registered: Mapping[Key, Registered], **more: object) -> Observed:
    loaded = {key: sha(key[1]) for key, found in registered.items() if found.state == "ready"}
    fields = {"loaded": loaded, "drained": frozenset(registered)} | more
    return Observed(registered=registered, **fields)  # type: ignore[arg-type]


def decide(release: Release, observed: Observed, routes: bytes) -> list[Action]:
    return reconcile(release, observed, whole(release), Projections(routes=routes))


def test_reconcile_routes_only_to_versions_that_are_loaded() -> None:
    release = released("1.0", "2.0")
    starting = Registered(state="starting", default=False)
    observed = observe({ONE: READY, TWO: starting})
    assert unavailable(whole(release), observed) == [TWO]
    assert decide(release, observed, b"1.0") == [WriteRoutes(content=b"1.0")]


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
    routes: bytes, drained: bool, old_is_default: bool, expected: list[Action]
) -> None:
    registered = {
        ONE: Registered(state="ready", default=not old_is_default),
        OLD: Registered(state="ready", default=old_is_default),
    }
    idle = frozenset({OLD} if drained else ())
    observed = observe(registered, routes=routes, drained=idle)
    assert decide(released("1.0"), observed, b"1.0") == expected


def test_reconcile_keeps_what_an_earlier_release_still_serves() -> None:
    newest, earlier = released("2.0", number=7), released("0.9", number=6)
    starting = Registered(state="starting", default=False)
    observed = observe({OLD: READY, TWO: starting}, routes=b"old")
    in_force = choose(newest, whole(earlier), observed.loaded)
    assert in_force.models == {"ranker": earlier}
    assert reconcile(newest, observed, in_force, Projections(routes=b"old")) == []


def test_reconcile_leaves_workflow_nodes_alone() -> None:
    node: Key = ("feed_ab__assign", "1.0")
    observed = observe({ONE: READY, node: READY}, routes=b"1.0")
    assert decide(released("1.0"), observed, b"1.0") == []


def test_reconcile_loads_standby_versions_after_those_with_traffic() -> None:
    release = released("2.0", standby=("1.0",))
    first = decide(release, observe({}, routes=b"1.0"), b"1.0")
    assert first == [Register(model="ranker", version="2.0", pinned=pin("2.0"))]
    then = decide(release, observe({TWO: READY}, routes=b"1.0"), b"1.0")
    assert then == [Register(model="ranker", version="1.0", pinned=pin("1.0"))]
    assert decide(release, observe({TWO: READY, ONE: OTHER}, routes=b"1.0"), b"1.0") == []


def test_reconcile_starts_the_default_alone_when_nothing_is_loaded() -> None:
    release = released("2.0", "1.0")
    default = Register(model="ranker", version="2.0", pinned=pin("2.0"))
    other = Register(model="ranker", version="1.0", pinned=pin("1.0"))
    starting = Registered(state="starting", default=True)
    assert decide(release, observe({}, routes=b""), b"") == [default]
    assert decide(release, observe({TWO: starting}, routes=b""), b"") == []
    assert other in decide(release, observe({TWO: READY}, routes=b""), b"")
    assert decide(release, observe({}, routes=b"", refused={TWO: "bad"}), b"") == [other]


def test_reconcile_does_not_register_what_is_refused_and_removes_it() -> None:
    release = released("1.0", "2.0")
    absent = observe({ONE: READY}, routes=b"1.0", refused={TWO: "differs"})
    assert decide(release, absent, b"1.0") == []
    present = observe(
        {ONE: READY, TWO: OTHER}, loaded={ONE: sha("1.0")}, routes=b"1.0", refused={TWO: "differs"}
    )
    assert decide(release, present, b"1.0") == [Unregister(model="ranker", version="2.0")]


def test_reconcile_moves_torchserves_default_away_from_a_refused_version() -> None:
    release = released("2.0", "1.0")
    crashing = Registered(state="starting", default=True)
    more = {"refused": {TWO: "bad"}, "routes": b"1.0"}
    beside = observe({TWO: crashing, ONE: OTHER}, **more)
    assert decide(release, beside, b"1.0") == [SetDefault(model="ranker", version="1.0")]
    moved = {TWO: Registered(state="starting", default=False), ONE: READY}
    assert decide(release, observe(moved, **more), b"1.0") == [
        Unregister(model="ranker", version="2.0")
    ]
    unready = {TWO: crashing, ONE: Registered(state="starting", default=False)}
    assert decide(release, observe(unready, **more), b"1.0") == []


def test_reconcile_replaces_a_version_that_holds_other_bytes() -> None:
    observed = observe({ONE: READY}, loaded={ONE: "else"}, held={ONE: "else"}, routes=b"")
    assert decide(released("1.0"), observed, b"") == [Unregister(model="ranker", version="1.0")]


def test_reconcile_scales_a_loaded_version_to_the_release() -> None:
    release = released("1.0")
    two_workers = Registered(state="ready", default=True, min_workers=2)
    observed = observe({ONE: two_workers}, routes=b"1.0")
    assert decide(release, observed, b"1.0") == [Scale(model="ranker", version="1.0", workers=1)]
    assert decide(release, observe({ONE: READY}, routes=b"1.0"), b"1.0") == []


def test_reconcile_registers_workflows_last() -> None:
    fields = {name: getattr(released("1.0"), name) for name in Release.__struct_fields__}
    release = Release(**fields | {"workflows": ["feed_ab"]})
    starting = Registered(state="starting", default=True)
    assert decide(release, observe({ONE: starting}, routes=b""), b"") == []
    ready = observe({ONE: READY}, routes=b"1.0")
    assert decide(release, ready, b"1.0") == [RegisterWorkflow(name="feed_ab")]
    there = observe({ONE: READY}, routes=b"1.0", workflows=frozenset({"feed_ab"}))
    assert decide(release, there, b"1.0") == []


def test_reconcile_unregisters_workflows_that_left_the_releases_and_no_others() -> None:
    workflows = frozenset({"left", "by_hand"})
    observed = observe(
        {ONE: READY}, routes=b"1.0", workflows=workflows, retired=frozenset({"left", "gone"})
    )
    assert decide(released("1.0"), observed, b"1.0") == [UnregisterWorkflow(name="left")]


def test_reconcile_replaces_an_allocation_file_only_when_it_differs() -> None:
    observed = observe({ONE: READY}, routes=b"1.0", allocations={"same": b"1", "other": b"1"})
    wanted_files = {"same": b"1", "other": b"2", "new": b"3"}
    projections = Projections(routes=b"1.0", allocations=wanted_files)
    release = released("1.0")
    assert reconcile(release, observed, whole(release), projections) == [
        WriteAllocation(experiment="other", content=b"2"),
        WriteAllocation(experiment="new", content=b"3"),
    ]
