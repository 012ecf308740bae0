"""The pure decision: everything that follows from one release and one observation."""

import json
from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marloft.contract.manifest import WorkerSettings
from marloft.contract.release import Allocation, Arm, Key, Release, ReleasedModel, ReleasedVersion
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
from marloft.deploy.control.reconcile import Reconciliation, reconcile
from marloft.deploy.gateway.acceptance import Accepted
from marloft.deploy.gateway.clusters import (
    cluster_name,
    cluster_names,
    render_clusters,
    with_earlier,
)
from marloft.deploy.gateway.discovery_files import file_version
from marloft.deploy.gateway.observed_routes import model_routes
from marloft.deploy.gateway.routes import render_routes
from marloft.deploy.release.in_force import InForce, read_label, whole
from marloft.deploy.torchserve.management import Registered, State
from tests.releases import made_release

ONE: Key = ("ranker", "1.0")
TWO: Key = ("ranker", "2.0")
OLD: Key = ("ranker", "0.9")
ALL = [ONE, TWO, OLD]
STATES: st.SearchStrategy[State] = st.sampled_from(["ready", "starting"])
READY = Registered(state="ready", default=True)
OTHER = Registered(state="ready", default=False)
STARTING = Registered(state="starting", default=False)


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


def in_place(release: Release, *gone: Key) -> bytes:
    """Return the route file of a release without the versions that are not admitted."""
    return render_routes(release, gone)


def led_to(routes: bytes | None) -> set[Key]:
    """Return the versions that a route file leads to."""
    if routes is None:
        return set()
    (config,) = json.loads(routes)["resources"]
    found = model_routes(config["virtual_hosts"][0]["routes"]).get("ranker")
    versions = (found.default, *found.arms, *found.pinned) if found is not None else ()
    return {("ranker", version) for version in versions if version is not None}


def named(versions: Iterable[Key]) -> set[str]:
    return {cluster_name(*key) for key in versions}


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
        self.taken = routes
        self.clusters: bytes | None = None
        self.taken_clusters: bytes | None = None
        self.bad = bad
        self.answer_s: dict[Key, float] = {}
        self.allocations: dict[str, bytes] = {}
        self.admitted = {k: sha(k[1]) for k, r in registered.items() if r.state == "ready"}
        self.admitted = {k: v for k, v in self.admitted.items() if k not in bad}

    def look(self, release: Release) -> Reconciliation:
        refused = {key: "bad" for key in self.bad if key in release.loaded}
        before = None
        if self.routes is not None:
            before = read_label(file_version(self.routes), self.releases.__getitem__)
        observed = Observed(
            registered=dict(self.registered),
            admitted=dict(self.admitted),
            refused=refused,
            answer_s=self.answer_s,
            clusters=self.clusters,
            clusters_taken=Accepted(
                taken=self.clusters is not None and self.taken_clusters == self.clusters
            ),
            routes=self.routes,
            routes_taken=Accepted(taken=self.routes is not None and self.taken == self.routes),
            before=before,
            drained=frozenset(set(self.registered) - led_to(self.taken)),
            allocations=dict(self.allocations),
        )
        return reconcile(release, observed)

    def do(self, action: Action) -> None:
        match action:
            case Register(model=model, version=version):
                first = not self.registered
                self.registered[model, version] = Registered(state="starting", default=first)
            case WriteClusters(content=content):
                assert named(led_to(self.taken)) <= cluster_names(content), "cluster in use"
                assert named(led_to(self.routes)) <= cluster_names(content), "cluster in use"
                self.clusters = content
            case WriteRoutes(content=content):
                assert named(led_to(content)) <= cluster_names(self.taken_clusters), "no cluster"
                assert led_to(content) <= set(self.admitted), "routed to what cannot serve"
                self.routes = content
            case WriteAllocation(experiment=experiment, content=content):
                self.allocations[experiment] = content
            case SetDefault(model=model, version=version):
                for key, found in self.registered.items():
                    mine = key == (model, version)
                    self.registered[key] = Registered(state=found.state, default=mine)
            case Unregister(model=model, version=version):
                key = (model, version)
                assert key not in led_to(self.taken), "still routed to"
                others = len(self.registered) > 1
                assert not (self.registered[key].default and others), "TorchServe's default"
                del self.registered[key]
                self.admitted.pop(key, None)
            case _:
                raise AssertionError(f"unexpected {action}")

    def gateway_looks(self, *, clusters: bool = True, routes: bool = True) -> None:
        if clusters:
            self.taken_clusters = self.clusters
        if routes:
            self.taken = self.routes
        lacking = named(led_to(self.taken)) - cluster_names(self.taken_clusters)
        assert not lacking, "routes in force lead to clusters that the gateway lacks"

    def workers_start(self) -> None:
        for key, found in self.registered.items():
            self.registered[key] = Registered(state="ready", default=found.default)
            if key not in self.bad:
                self.admitted[key] = sha(key[1])


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
    blind=st.lists(st.tuples(st.booleans(), st.booleans()), max_size=4),
    times=st.lists(st.sampled_from([0.001, 2.0]), max_size=3),
)
def test_reconcile_converges_from_any_state_and_after_any_cut(
    registered: dict[Key, Registered],
    release: Release,
    before: Release,
    serves_before: bool,
    bad: frozenset[Key],
    cuts: list[int],
    blind: list[tuple[bool, bool]],
    times: list[float],
) -> None:
    world = World({6: before, 7: release}, registered, None, bad)
    if serves_before:
        gone = [key for key in before.routed if key not in world.admitted]
        world.routes = world.taken = in_place(before, *gone)
        world.clusters = world.taken_clusters = render_clusters(before.models, {}, 8080)
    for cut in cuts:
        # The controller is killed after `cut` actions; the next one only looks.
        for action in world.look(release).actions[:cut]:
            world.do(action)
    # At some looks the gateway does not take what was written, and the old files are in force.
    for takes_clusters, takes_routes in [*blind, *[(True, True)] * 10]:
        for action in world.look(release).actions:
            world.do(action)
        world.workers_start()
        world.gateway_looks(clusters=takes_clusters, routes=takes_routes)
        world.answer_s = dict.fromkeys(ALL, times.pop()) if times else world.answer_s
    decided = world.look(release)
    assert decided.actions == []
    assert decided.missing == []
    good = set(release.loaded) - bad
    if good:
        assert not set(decided.refused) & set(world.registered), "a refused version runs on"
    assert good <= set(world.registered)
    served = set(decided.in_force.versions())
    if not bad & set(release.loaded):
        assert decided.is_live
        assert decided.in_force == whole(release)
        assert set(world.registered) == set(release.loaded)
        default = release.models["ranker"].default
        assert world.registered["ranker", default].default
    assert (world.taken, world.taken_clusters) == (world.routes, world.clusters)
    assert cluster_names(world.clusters) == named(served), "no cluster is left behind"
    assert led_to(world.routes) == served & set(world.admitted)
    assert good & served <= led_to(world.routes)
    assert decided.leaving == []
    assert decided.is_changing is False


def test_world_notices_what_must_never_be() -> None:
    world = World({}, {OLD: READY, ONE: OTHER}, in_place(released("0.9", number=6)))
    world.taken_clusters = render_clusters(released("0.9", "1.0", "2.0").models, {}, 8080)
    with pytest.raises(AssertionError, match="still routed to"):
        world.do(Unregister(model="ranker", version="0.9"))
    with pytest.raises(AssertionError, match="cannot serve"):
        world.do(WriteRoutes(content=in_place(released("2.0", number=7))))
    world.taken_clusters = world.clusters = render_clusters(released("0.9").models, {}, 8080)
    with pytest.raises(AssertionError, match="no cluster"):
        world.do(WriteRoutes(content=in_place(released("1.0", number=7))))
    with pytest.raises(AssertionError, match="cluster in use"):
        world.do(WriteClusters(content=render_clusters(released("1.0").models, {}, 8080)))


def observe(
    release: Release, registered: Mapping[Key, Registered], *gone: Key, **more: object
) -> Observed:
    """Return an observation with `release`'s routes in place, but for those of `gone`."""
    admitted = {key: sha(key[1]) for key, found in registered.items() if found.state == "ready"}
    fields = {
        "admitted": admitted,
        "drained": frozenset(registered),
        "clusters": render_clusters(release.models, {}, 8080),
        "clusters_taken": Accepted(taken=True),
        "routes": in_place(release, *gone),
        "routes_taken": Accepted(taken=True),
        "before": whole(release),
    } | more
    return Observed(registered=registered, **fields)  # type: ignore[arg-type]


def decide(
    release: Release, registered: Mapping[Key, Registered], *gone: Key, **more: object
) -> list[Action]:
    return reconcile(release, observe(release, registered, *gone, **more)).actions


def test_reconcile_routes_only_to_versions_that_are_loaded() -> None:
    release = released("1.0", "2.0")
    found = {ONE: READY, TWO: STARTING}
    (write,) = decide(release, found, ONE, TWO)
    assert write == WriteRoutes(content=in_place(release, TWO))
    assert led_to(write.content) == {ONE}


def test_reconcile_rests_a_split_while_no_worker_of_an_arm_lives() -> None:
    release = released("1.0", "2.0", split=True)
    both = {ONE: READY, TWO: OTHER}
    rests = render_routes(release, resting={TWO})
    split = {"allocations": render_allocations(release, {})}
    decided = reconcile(release, observe(release, both, resting={TWO}, **split))
    assert decided.actions == [WriteRoutes(content=rests)]
    assert (decided.missing, decided.leaving, dict(decided.unchecked)) == ([], [], {})
    assert decide(release, both, resting={TWO}, routes=rests, **split) == []
    back = decide(release, both, routes=rests, **split)
    assert back == [WriteRoutes(content=in_place(release))]
    assert decide(release, both, resting={ONE}, **split) == [], "the default has no stand-in"


@pytest.mark.parametrize(
    ("in_force", "drained", "old_is_default", "expected"),
    [
        (released("1.0", "0.9"), True, False, WriteRoutes(content=in_place(released("1.0")))),
        (released("1.0"), False, False, None),
        (released("1.0"), True, True, SetDefault(model="ranker", version="1.0")),
        (released("1.0"), True, False, Unregister(model="ranker", version="0.9")),
    ],
)
def test_reconcile_removes_a_version_only_when_nothing_needs_it(
    in_force: Release, drained: bool, old_is_default: bool, expected: Action | None
) -> None:
    registered = {
        ONE: Registered(state="ready", default=not old_is_default),
        OLD: Registered(state="ready", default=old_is_default),
    }
    idle = frozenset({OLD} if drained else ())
    found = decide(released("1.0"), registered, routes=in_place(in_force), drained=idle)
    assert found == ([] if expected is None else [expected])


def test_reconcile_gives_clusters_first_then_routes_and_drops_clusters_last() -> None:
    old, new = released("1.0", "0.9", number=6), released("1.0", "2.0", number=7)
    three = {ONE: READY, TWO: OTHER, OLD: OTHER}
    clusters = render_clusters(old.models, {}, 8080)
    now: dict[str, object] = {"routes": in_place(old), "clusters": clusters}
    now |= {"before": whole(old)}
    all_three = with_earlier(clusters, render_clusters(new.models, {}, 8080))
    assert decide(new, three, **now) == [WriteClusters(content=all_three)]
    now |= {"clusters": all_three, "clusters_taken": Accepted(taken=False)}
    assert decide(new, three, **now) == []
    now |= {"clusters_taken": Accepted(taken=True)}
    assert decide(new, three, **now) == [WriteRoutes(content=in_place(new))]
    now |= {"routes": in_place(new), "routes_taken": Accepted(taken=False), "before": whole(new)}
    assert decide(new, three, **now) == []
    now |= {"routes_taken": Accepted(taken=True)}
    drop = WriteClusters(content=render_clusters(new.models, {}, 8080))
    assert decide(new, three, **now)[0] == drop


def test_reconcile_gives_a_version_the_limit_that_fits_its_measured_time() -> None:
    found = decide(released("1.0"), {ONE: READY}, answer_s={ONE: 0.001})
    assert found == [
        WriteClusters(content=render_clusters(released("1.0").models, {ONE: 0.001}, 8080))
    ]


def test_reconcile_removes_nothing_before_the_gateway_has_taken_the_routes() -> None:
    registered = {ONE: READY, OLD: OTHER}
    untaken = observe(released("1.0"), registered, routes_taken=Accepted(taken=False))
    decided = reconcile(released("1.0"), untaken)
    assert (decided.actions, decided.complaint) == ([], None)
    assert (decided.is_live, decided.is_changing) == (False, True)


def test_reconcile_writes_again_what_the_gateway_does_not_take_and_says_why() -> None:
    release = released("1.0", number=6)
    overdue = Accepted(taken=False, overdue="no descriptors", again=True)
    decided = reconcile(release, observe(release, {ONE: READY}, routes_taken=overdue))
    assert decided.actions == [WriteRoutes(content=in_place(release))]
    said = "the gateway has not taken the routes of release 6: no descriptors"
    assert decided.complaint == said
    waits = Accepted(taken=False, overdue="no descriptors")
    decided = reconcile(release, observe(release, {ONE: READY}, routes_taken=waits))
    assert (decided.actions, decided.complaint) == ([], said)


def test_reconcile_keeps_what_an_earlier_release_still_serves() -> None:
    newest, earlier = released("2.0", number=7), released("0.9", number=6)
    serving = InForce(front=newest, models={"ranker": earlier})
    now = {
        "routes": render_routes(newest, in_force=serving),
        "clusters": render_clusters(earlier.models, {}, 8080),
    }
    observed = observe(newest, {OLD: READY, TWO: STARTING}, before=serving, **now)
    decided = reconcile(newest, observed)
    assert decided.in_force.models == {"ranker": earlier}
    assert (decided.actions, decided.missing, decided.leaving) == ([], [TWO], [])
    assert (decided.is_live, decided.is_changing) == (False, True)


def test_reconcile_leaves_workflow_nodes_alone() -> None:
    node: Key = ("feed_ab__assign", "1.0")
    assert decide(released("1.0"), {ONE: READY, node: READY}) == []


def test_reconcile_names_what_is_ready_and_was_never_asked() -> None:
    release, held = released("1.0", "2.0"), {ONE: sha("1.0"), TWO: sha("2.0")}
    ready = observe(release, {ONE: READY, TWO: OTHER}, admitted={}, held=held)
    assert reconcile(release, ready).unchecked == {ONE: pin("1.0"), TWO: pin("2.0")}
    known = observe(
        release, {ONE: READY, TWO: OTHER}, admitted={ONE: sha("1.0")}, refused={TWO: ""}, held=held
    )
    assert reconcile(release, known).unchecked == {}
    starting = observe(release, {ONE: STARTING, TWO: OTHER}, admitted={}, held=held)
    assert reconcile(release, starting).unchecked == {TWO: pin("2.0")}


def test_reconcile_takes_running_versions_for_what_the_routes_in_force_lead_to() -> None:
    other = ReleasedVersion(sha256="other", settings=WorkerSettings(workers=3))
    newest = made_release({"ranker": ReleasedModel(default="1.0", versions={"1.0": other})}, 7)
    running = released("1.0", number=6)
    observed = observe(
        newest, {ONE: READY}, admitted={}, held={ONE: sha("1.0")}, before=whole(running)
    )
    assert reconcile(newest, observed).unchecked == {ONE: pin("1.0")}


def test_reconcile_loads_standby_versions_after_those_with_traffic() -> None:
    release = released("2.0", standby=("1.0",))
    first = decide(release, {}, TWO)
    assert first == [Register(model="ranker", version="2.0", pinned=pin("2.0"))]
    then = decide(release, {TWO: READY})
    assert then == [Register(model="ranker", version="1.0", pinned=pin("1.0"))]
    assert decide(release, {TWO: READY, ONE: OTHER}) == []


def test_reconcile_starts_the_default_alone_when_nothing_is_loaded() -> None:
    release = released("2.0", "1.0")
    default = Register(model="ranker", version="2.0", pinned=pin("2.0"))
    other = Register(model="ranker", version="1.0", pinned=pin("1.0"))
    starting = Registered(state="starting", default=True)
    assert decide(release, {}, ONE, TWO) == [default]
    assert decide(release, {TWO: starting}, ONE, TWO) == []
    assert decide(release, {TWO: READY}, ONE) == [other]
    assert decide(release, {}, ONE, TWO, refused={TWO: "bad"}) == [other]


def test_reconcile_does_not_register_what_is_refused_and_removes_it() -> None:
    release, refused = released("1.0", "2.0"), {TWO: "differs"}
    assert decide(release, {ONE: READY}, TWO, refused=refused) == []
    found = decide(
        release, {ONE: READY, TWO: OTHER}, TWO, admitted={ONE: sha("1.0")}, refused=refused
    )
    assert found == [Unregister(model="ranker", version="2.0")]


def test_reconcile_tells_of_refusals_that_the_release_is_about() -> None:
    release, refused = released("1.0", "2.0"), {TWO: "differs", OLD: "gone long ago"}
    decided = reconcile(release, observe(release, {ONE: READY}, TWO, refused=refused))
    assert decided.refused == {TWO: "differs"}
    assert not decided.is_live


def test_reconcile_moves_torchserves_default_away_from_a_refused_version() -> None:
    release = released("2.0", "1.0")
    crashing = Registered(state="starting", default=True)
    refused = {TWO: "bad"}
    found = decide(release, {TWO: crashing, ONE: OTHER}, TWO, refused=refused)
    assert found == [SetDefault(model="ranker", version="1.0")]
    moved = {TWO: Registered(state="starting", default=False), ONE: READY}
    assert decide(release, moved, TWO, refused=refused) == [
        Unregister(model="ranker", version="2.0")
    ]
    unready = {TWO: crashing, ONE: Registered(state="starting", default=False)}
    assert decide(release, unready, TWO, ONE, refused=refused) == []


def test_reconcile_replaces_a_version_that_holds_other_bytes() -> None:
    found = decide(released("1.0"), {ONE: READY}, ONE, admitted={ONE: "else"}, held={ONE: "else"})
    assert found == [Unregister(model="ranker", version="1.0")]


def test_reconcile_scales_a_loaded_version_to_the_release() -> None:
    two_workers = Registered(state="ready", default=True, min_workers=2)
    assert decide(released("1.0"), {ONE: two_workers}) == [
        Scale(model="ranker", version="1.0", workers=1)
    ]
    assert decide(released("1.0"), {ONE: READY}) == []


def test_reconcile_registers_workflows_last() -> None:
    fields = {name: getattr(released("1.0"), name) for name in Release.__struct_fields__}
    release = Release(**fields | {"workflows": ["feed_ab"]})
    starting = Registered(state="starting", default=True)
    assert decide(release, {ONE: starting}, ONE) == []
    assert decide(release, {ONE: READY}) == [RegisterWorkflow(name="feed_ab")]
    assert decide(release, {ONE: READY}, workflows=frozenset({"feed_ab"})) == []


def test_reconcile_unregisters_workflows_that_left_the_releases_and_no_others() -> None:
    found = decide(
        released("1.0"),
        {ONE: READY},
        workflows=frozenset({"left", "by_hand"}),
        retired=frozenset({"left", "gone"}),
    )
    assert found == [UnregisterWorkflow(name="left")]


def test_reconcile_replaces_an_allocation_file_only_when_it_differs() -> None:
    release = released("1.0", "2.0", split=True)
    both = {ONE: READY, TWO: OTHER}
    ((name, content),) = render_allocations(release, {}).items()
    write = WriteAllocation(experiment=name, content=content)
    assert decide(release, both) == [write]
    assert decide(release, both, allocations={name: b"other"}) == [write]
    assert decide(release, both, allocations={name: content, "by_hand": b"1"}) == []
