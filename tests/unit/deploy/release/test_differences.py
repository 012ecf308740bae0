"""Each thing that a release changes is one line; nothing changed is no line."""

from typing import Any

import pytest
from msgspec.structs import replace

from marloft.contract.manifest import WorkerSettings
from marloft.contract.policy import Guardrails, LogPolicy, RequestLimits, RolloutPlan
from marloft.contract.release import Allocation, Arm, ReleasedModel, ReleasedVersion
from marloft.deploy.release import rollouts
from marloft.deploy.release.decisions import Draft
from marloft.deploy.release.differences import differences, warnings

PLAN = RolloutPlan(steps=[5, 50], hold_s=60, min_requests=10)


def pinned(sha256: str = "a" * 64, **settings: int) -> ReleasedVersion:
    return ReleasedVersion(sha256=sha256, settings=WorkerSettings(**settings))


def split(*weights: int, name: str = "feed_ab") -> Allocation:
    arms = [
        Arm(name=arm, version=version, weight=weight)
        for arm, version, weight in zip(
            ("control", "treatment"), ("1.0", "2.0"), weights, strict=True
        )
    ]
    return Allocation(name=name, salt="s", unit="user_id", arms=arms)


BASE = ReleasedModel(default="1.0", versions={"1.0": pinned(), "2.0": pinned()})
NEXT = replace(BASE, default="2.0")


def said(model: ReleasedModel, **more: Any) -> Draft:
    parts: dict[str, Any] = {
        "models": {"ranker": model},
        "default_model": "ranker",
        "log": LogPolicy(),
        "workflows": [],
    } | more
    return Draft(**parts, reason="because")


def lines(before: ReleasedModel, after: ReleasedModel) -> list[str]:
    return differences(said(before), said(after))


def test_no_change_is_no_line() -> None:
    assert lines(BASE, BASE) == []


@pytest.mark.parametrize(
    ("after", "line"),
    [
        (NEXT, "ranker: default: 1.0 → 2.0 at once"),
        (
            replace(BASE, versions={"1.0": pinned(), "2.0": pinned("b" * 64)}),
            "ranker: version 2.0: other bytes, sha256 aaaaaaaaaaaa… → bbbbbbbbbbbb…",
        ),
        (
            replace(BASE, versions={"1.0": pinned(workers=2), "2.0": pinned()}),
            "ranker: version 1.0: workers 1 → 2",
        ),
        (
            replace(BASE, versions={"1.0": pinned()}, standby={"2.0": pinned()}),
            "ranker: version 2.0: leaves the routes, stays loaded for a rollback",
        ),
        (
            replace(BASE, versions=BASE.versions | {"3.0": pinned()}),
            "ranker: version 3.0: new, sha256 aaaaaaaaaaaa…",
        ),
        (
            replace(BASE, allocation=split(9, 1)),
            "ranker: experiment feed_ab: starts, control 1.0: 9, treatment 2.0: 1",
        ),
        (
            replace(BASE, guardrails=Guardrails(p99_ms=100)),
            "ranker: guardrail p99_ms none → 100",
        ),
        (
            replace(BASE, limits=RequestLimits(per_client_per_s=50)),
            "ranker: limit per_client_per_s none → 50",
        ),
        (replace(BASE, shadow="2.0"), "ranker: shadow: none → 2.0"),
        (replace(BASE, aliases={"champion": "1.0"}), "ranker: alias champion: none → 1.0"),
    ],
)
def test_one_change_of_a_model_is_one_line(after: ReleasedModel, line: str) -> None:
    assert lines(BASE, after) == [line]


def test_experiment_that_changes_or_ends_is_told() -> None:
    running = replace(BASE, allocation=split(9, 1))
    assert lines(running, replace(BASE, allocation=split(5, 5))) == [
        "ranker: experiment feed_ab: control 1.0: 9, treatment 2.0: 1 → "
        "control 1.0: 5, treatment 2.0: 5"
    ]
    assert lines(running, BASE) == ["ranker: experiment feed_ab: ends"]
    assert len(lines(running, replace(BASE, allocation=split(9, 1, name="other")))) == 2


def test_rollout_is_told_from_its_begin_to_its_end() -> None:
    wanted = replace(NEXT, versions={"2.0": pinned()})
    model = rollouts.begin(BASE, wanted, PLAN)
    told = [lines(BASE, model)]
    while model.rollout is not None:
        after = rollouts.advance(model)
        told.append(lines(model, after))
        model = after
    assert told == [
        [
            "ranker: default: 1.0 → 2.0 by steps of 5, 50, 100 %, each for 60 s and 10 requests",
            "ranker: when the roll-out ends, 1.0 leaves the routes",
        ],
        ["ranker: roll-out of 2.0: 5 % → 50 %"],
        ["ranker: roll-out of 2.0: 50 % → 100 %"],
        [
            "ranker: version 1.0: leaves the routes, stays loaded for a rollback",
            "ranker: roll-out of 2.0: ends, default 2.0",
        ],
    ]


def test_abandoned_rollout_is_told() -> None:
    ramp = rollouts.begin(BASE, NEXT, PLAN)
    assert lines(ramp, rollouts.abandon(ramp)) == ["ranker: roll-out of 2.0: ends, default 1.0"]


def test_models_that_come_and_go_and_the_log_are_told() -> None:
    before = said(BASE)
    after = said(
        BASE,
        models={"other": replace(BASE, versions={"1.0": pinned()})},
        default_model="other",
        log=LogPolicy(redact=["zip"]),
    )
    assert differences(before, after) == [
        "default model: ranker → other",
        "other: new, default 1.0",
        "other: version 1.0: new, sha256 aaaaaaaaaaaa…",
        "ranker: leaves, with all its versions",
        "log: redact [] → [zip]",
    ]


def test_settings_that_torchserve_takes_at_its_start_are_warned_of() -> None:
    before = said(BASE)
    late = replace(BASE, versions={"1.0": pinned(batch_size=8), "2.0": pinned(workers=2)})
    (warning,) = warnings(before, said(late))
    assert warning.startswith("ranker 1.0: batch_size 16 → 8 takes effect at TorchServe's next")
    rebuilt = replace(BASE, versions={"1.0": pinned("b" * 64, batch_size=8), "2.0": pinned()})
    assert warnings(before, said(rebuilt)) == []
    assert warnings(None, said(late)) == []


def test_workflows_that_come_and_go_are_told() -> None:
    before, after = said(BASE, workflows=["one", "two"]), said(BASE, workflows=["two", "three"])
    assert differences(before, after) == ["workflow three: starts", "workflow one: ends"]
