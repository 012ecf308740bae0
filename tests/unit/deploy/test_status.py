"""Status: no difference is told when there is none, and each difference that is planted is."""

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from marloft.contract.live import Live, VersionState
from marloft.contract.manifest import WorkerSettings
from marloft.contract.policy import RolloutPlan
from marloft.contract.release import (
    Release,
    ReleasedModel,
    ReleasedVersion,
    release_path,
    releases_folder,
)
from marloft.deploy.control.actual import Actual
from marloft.deploy.gateway.observed_routes import ModelRoutes
from marloft.deploy.ports import Ports
from marloft.deploy.release.rollouts import advance, begin
from marloft.deploy.running import exclusive
from marloft.deploy.status import compare, read_status
from marloft.deploy.torchserve.management import Registered
from marloft.errors import ConfigError, ReleaseError
from marloft.files import write_json
from tests.free_ports import free_ports
from tests.releases import made_release

PINNED = ReleasedVersion(sha256="a" * 64, settings=WorkerSettings())
OLD = ReleasedModel(default="1.0", versions={"1.0": PINNED})
NEW = ReleasedModel(default="1.1", versions={"1.1": PINNED})
RAMP = begin(OLD, NEW, RolloutPlan(steps=[5, 50]))
READY = VersionState(state="ready")


def release(model: ReleasedModel = RAMP, number: int = 2) -> Release:
    return made_release({"ranker": model}, number)


REAL = Actual(
    serving=True,
    registered={
        ("ranker", "1.0"): Registered(state="ready", default=True),
        ("ranker", "1.1"): Registered(state="ready", default=False),
        ("feed_ab__assign", "1.0"): Registered(state="ready", default=True),
    },
    routed={
        "ranker": ModelRoutes(
            release=2, default="1.0", arms={"1.0": 95, "1.1": 5}, pinned=["1.0", "1.1"]
        )
    },
    live=Live(
        time="now",
        release=2,
        live=True,
        serving={"ranker": 2},
        versions={"ranker": {"1.0": READY, "1.1": READY}},
    ),
)


def test_reality_that_is_the_release_has_no_drift() -> None:
    found = compare(release(), REAL)
    assert found.drift == []
    assert found.exit_code == 0
    assert [(v.version, v.role, v.workers) for v in found.versions] == [
        ("1.0", "default; control of rollout-1.1, 95 %", "ready"),
        ("1.1", "canary of rollout-1.1, 5 %", "ready"),
    ]
    assert found.rollouts == ["ranker: 1.0 → 1.1, step 1 of 3, 5 %"]


def registry(**changed: Registered | None) -> Callable[[Actual], Actual]:
    def change(actual: Actual) -> Actual:
        registered = dict(actual.registered or {})
        for name, found in changed.items():
            key = ("ranker", name[1:].replace("_", "."))
            registered.pop(key, None)
            if found is not None:
                registered[key] = found
        return replace(actual, registered=registered)

    return change


def routes(**changed: object) -> Callable[[Actual], Actual]:
    def change(actual: Actual) -> Actual:
        known = (actual.routed or {})["ranker"]
        return replace(actual, routed={"ranker": replace(known, **changed)})

    return change


def report(**changed: object) -> Callable[[Actual], Actual]:
    def change(actual: Actual) -> Actual:
        assert actual.live is not None
        return replace(actual, live=replace(actual.live, **changed))

    return change


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (registry(v1_1=None), "ranker 1.1 is not registered with TorchServe"),
        (
            registry(v1_1=Registered(state="starting", default=False)),
            "the workers of ranker 1.1 are not ready",
        ),
        (
            registry(v3_0=Registered(state="ready", default=False)),
            "ranker 3.0 is registered, and release 2 does not name it",
        ),
        (
            registry(v1_1=Registered(state="ready", default=True)),
            "TorchServe's own default of ranker is 1.1",
        ),
        (
            routes(default=None),
            "the gateway answers 503 for ranker: its default 1.0 has no route",
        ),
        (routes(default="1.1"), "the gateway's default of ranker is 1.1, not 1.0"),
        (routes(arms={}), "the gateway splits ranker not at all, not 1.0: 95, 1.1: 5"),
        (routes(pinned=["1.0"]), "the gateway has no route to ranker 1.1"),
        (routes(release=1), "the routes of ranker are those of release 1"),
        (report(release=1), "`marloft serve` is still at release 1"),
        (report(live=False), "release 2 is not wholly live yet"),
        (report(live=False, complaint="disk full"), "disk full"),
        (
            report(versions={"ranker": {"1.1": VersionState(state="refused", why="no golden")}}),
            "ranker 1.1 is refused: no golden",
        ),
        (
            report(versions={"ranker": {"1.1": VersionState(state="checking")}}),
            "ranker 1.1 is checking",
        ),
        (report(faults={"Envoy": "does not answer"}), "Envoy: does not answer"),
        (
            report(age_s=31.4),
            "`marloft serve` looked after its processes 31 s ago; it is stuck",
        ),
        (
            lambda actual: replace(actual, live=None, silent="`marloft serve` does not answer"),
            "`marloft serve` does not answer",
        ),
        (lambda actual: replace(actual, live=None), "`marloft serve` has reported nothing yet"),
        (lambda actual: replace(actual, registered=None), "TorchServe does not answer"),
        (lambda actual: replace(actual, routed=None), "the gateway does not answer"),
    ],
)
def test_each_difference_is_told(change: Callable[[Actual], Actual], line: str) -> None:
    found = compare(release(), change(REAL))
    assert found.drift == [line]
    assert found.exit_code == 1


def test_standby_has_to_be_loaded_and_not_routed() -> None:
    finished = advance(advance(advance(RAMP)))
    assert set(finished.standby) == {"1.0"}
    plain = ModelRoutes(release=2, default="1.1", arms={}, pinned=["1.1"])
    loaded = {
        ("ranker", "1.0"): Registered(state="ready", default=False),
        ("ranker", "1.1"): Registered(state="ready", default=True),
    }
    actual = replace(REAL, routed={"ranker": plain}, registered=loaded)
    found = compare(release(finished), actual)
    assert found.drift == []
    assert found.versions[-1].role == "standby"
    del loaded["ranker", "1.0"]
    assert compare(release(finished), actual).drift == [
        "ranker 1.0 is not registered with TorchServe"
    ]


def test_nothing_runs_without_a_server(tmp_path: Path) -> None:
    write_json(release_path(releases_folder(tmp_path), 1), release(OLD, 1))
    found = read_status(tmp_path, free_ports())
    assert (found.serving, found.exit_code, found.drift) == (False, 2, [])


def test_server_whose_children_do_not_answer_is_told(tmp_path: Path) -> None:
    write_json(release_path(releases_folder(tmp_path), 1), release(OLD, 1))
    with exclusive(tmp_path):
        found = read_status(tmp_path, free_ports())
    assert found.drift == [
        "TorchServe does not answer",
        "the gateway does not answer",
        "`marloft serve` has reported nothing yet",
    ]


def test_no_release_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="no release"):
        read_status(tmp_path, Ports())


@pytest.mark.parametrize("kind", ["truncated", "a folder"])
def test_damaged_release_is_told_and_the_one_before_compared(tmp_path: Path, kind: str) -> None:
    folder = releases_folder(tmp_path)
    write_json(release_path(folder, 1), release(OLD, 1))
    if kind == "truncated":
        release_path(folder, 2).write_text("{")
    else:
        release_path(folder, 2).mkdir()
    with exclusive(tmp_path):
        found = read_status(tmp_path, free_ports())
    assert (found.release, found.exit_code) == (1, 1)
    assert "000002.json" in found.drift[0]


def test_no_readable_release_is_an_error(tmp_path: Path) -> None:
    folder = releases_folder(tmp_path)
    folder.mkdir()
    release_path(folder, 1).write_text("{")
    with pytest.raises(ConfigError, match=r"000001\.json"):
        read_status(tmp_path, Ports())
