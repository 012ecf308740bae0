"""Roll-outs as pure changes: each path ends where it should and moves no unit back."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from marloft.assignment import arm_of, check_reweight
from marloft.contract.manifest import WorkerSettings
from marloft.contract.policy import Guardrails, RolloutPlan
from marloft.contract.release import Allocation, Arm, ReleasedModel, ReleasedVersion
from marloft.deploy.release import rollouts
from marloft.deploy.release.rollouts import abandon, advance, begin, change, goal, settled
from marloft.errors import ConfigError, ReleaseError

VERSIONS = ("1.0", "1.1", "2.0", "3.0")
PLAN = RolloutPlan(steps=[5, 50])


def pinned(version: str, build: int = 0) -> ReleasedVersion:
    return ReleasedVersion(sha256=f"{version}-{build}", settings=WorkerSettings())


def model(default: str, *others: str, **more: object) -> ReleasedModel:
    versions = {version: pinned(version) for version in sorted({default, *others})}
    return replace(ReleasedModel(default=default, versions=versions), **more)


def experiment(default: str, treatment: str) -> Allocation:
    arms = [
        Arm(name="control", version=default, weight=1),
        Arm(name="treatment", version=treatment, weight=1),
    ]
    return Allocation(name="feed_ab", salt="s", unit="user_id", arms=arms)


def steps_of(first: ReleasedModel) -> list[ReleasedModel]:
    """Return a roll-out from its first step to its end."""
    found = [first]
    while found[-1].rollout is not None:
        found.append(advance(found[-1]))
    return found


plans = st.sets(st.integers(1, 99), min_size=1, max_size=6).map(
    lambda steps: RolloutPlan(steps=sorted(steps))
)


@st.composite
def beginnings(draw: st.DrawFn) -> tuple[ReleasedModel, ReleasedModel, RolloutPlan]:
    """Draw what is live, what is wanted (another default), and the plan."""
    before, after = draw(st.permutations(VERSIONS))[:2]
    others = st.sets(st.sampled_from(VERSIONS))
    current = model(before, *draw(others))
    wanted = model(after, *draw(others), guardrails=Guardrails(error_ratio=0.01))
    return current, wanted, draw(plans)


@given(beginnings())
def test_rollout_leads_to_what_was_wanted(
    drawn: tuple[ReleasedModel, ReleasedModel, RolloutPlan],
) -> None:
    current, wanted, plan = drawn
    path = steps_of(begin(current, wanted, plan))
    assert len(path) == len(plan.steps) + 2, "each step, full traffic, the end"
    assert all(goal(step) == wanted for step in path)
    assert goal(path[-1]) == replace(path[-1], standby={}) == wanted
    kept = set(path[-1].versions) | set(path[-1].standby)
    assert current.default in kept, "the default before stays loaded"


@given(beginnings())
def test_shares_are_percent_and_ascend_as_planned(
    drawn: tuple[ReleasedModel, ReleasedModel, RolloutPlan],
) -> None:
    current, wanted, plan = drawn
    *ramp, full, _ = steps_of(begin(current, wanted, plan))
    for step, percent in zip(ramp, plan.steps, strict=True):
        assert step.allocation is not None
        assert [arm.weight for arm in step.allocation.arms] == [100 - percent, percent]
        assert [arm.version for arm in step.allocation.arms] == [current.default, wanted.default]
        assert step.allocation.name == step.allocation.salt == f"rollout-{wanted.default}"
        assert step.default == current.default
    assert (full.default, full.allocation) == (wanted.default, None)
    assert current.default in full.versions, "still routable by pin while it is watched"


@given(beginnings(), st.lists(st.text(min_size=1), min_size=1, max_size=50))
def test_no_unit_moves_back_to_control(
    drawn: tuple[ReleasedModel, ReleasedModel, RolloutPlan], units: list[str]
) -> None:
    *ramp, _, _ = steps_of(begin(*drawn))
    splits = [step.allocation for step in ramp if step.allocation is not None]
    for earlier, later in itertools.pairwise(splits):
        check_reweight(earlier, later)
        for unit in units:
            assert not (arm_of(earlier, unit) == "canary" and arm_of(later, unit) == "control")


def test_units_that_move_back_would_be_noticed() -> None:
    first = begin(model("1.0"), model("2.0"), PLAN).allocation
    second = advance(begin(model("1.0"), model("2.0"), PLAN)).allocation
    assert first is not None
    assert second is not None
    with pytest.raises(ReleaseError, match="from 'canary' to 'control'"):
        check_reweight(second, first)


@given(beginnings())
def test_abandon_from_any_step_restores_what_served(
    drawn: tuple[ReleasedModel, ReleasedModel, RolloutPlan],
) -> None:
    current, wanted, plan = drawn
    *under_way, _ = steps_of(begin(current, wanted, plan))
    for step in under_way:
        back = abandon(step)
        assert (back.default, back.allocation, back.rollout) == (current.default, None, None)
        assert set(back.versions) == set(current.versions)


def test_abandon_keeps_a_version_that_was_deployed_before() -> None:
    wanted = model("2.0")
    assert "2.0" in abandon(begin(model("1.0", "2.0"), wanted, PLAN)).versions
    assert "2.0" not in abandon(begin(model("1.0"), wanted, PLAN)).versions


def test_alias_of_a_version_that_leaves_goes_with_it() -> None:
    wanted = model("2.0", "1.0", aliases={"champion": "1.0", "challenger": "2.0"})
    ramp = begin(model("1.0"), wanted, PLAN)
    assert ramp.aliases == goal(ramp).aliases == wanted.aliases
    assert abandon(ramp).aliases == {"champion": "1.0"}


def test_abandon_ends_an_experiment_with_its_control() -> None:
    running = model("1.0", "2.0", allocation=experiment("1.0", "2.0"))
    assert abandon(running) == model("1.0", "2.0")


def test_advance_outside_of_a_rollout_is_refused() -> None:
    with pytest.raises(ValueError, match="only a roll-out"):
        advance(model("1.0"))


@given(beginnings())
def test_change_repeats_nothing_at_any_step(
    drawn: tuple[ReleasedModel, ReleasedModel, RolloutPlan],
) -> None:
    current, wanted, plan = drawn
    for step in steps_of(begin(current, wanted, plan)):
        assert change("m", step, wanted, plan).model == step


def test_change_begins_a_rollout_for_another_default_with_a_plan_only() -> None:
    current, wanted = model("1.0"), model("2.0")
    begun = change("m", current, wanted, PLAN)
    assert begun.model == begin(current, wanted, PLAN)
    assert begun.how == "m begins to roll out 2.0 from 1.0"
    at_once = change("m", current, wanted, None)
    assert at_once.model == replace(wanted, standby={"1.0": pinned("1.0")})
    assert at_once.how == "m 2.0 takes over from 1.0 at once"


def test_change_of_a_new_model_or_of_anything_but_the_default_is_direct() -> None:
    assert change("m", None, model("2.0"), PLAN).model == model("2.0")
    more = model("1.0", "3.0")
    assert change("m", model("1.0"), more, PLAN).model == more


def test_change_to_an_arm_of_the_experiment_is_direct() -> None:
    running = model("1.0", "2.0", allocation=experiment("1.0", "2.0"))
    assert change("m", running, model("2.0", "1.0"), PLAN).model.rollout is None
    assert change("m", running, model("3.0", "1.0"), PLAN).model.rollout is not None


def test_change_to_other_bytes_of_an_arm_is_a_rollout() -> None:
    running = model("1.0", "2.0", allocation=experiment("1.0", "2.0"))
    rebuilt = replace(model("2.0"), versions={"2.0": pinned("2.0", build=1)})
    assert change("m", running, rebuilt, PLAN).model.rollout is not None


def test_change_refuses_a_rollout_beside_an_experiment() -> None:
    wanted = model("2.0", "3.0", allocation=experiment("2.0", "3.0"))
    with pytest.raises(ConfigError, match="first roll out with `experiment: null`"):
        change("m", model("1.0"), wanted, PLAN)
    assert change("m", model("1.0"), wanted, None).model.allocation is not None


def test_change_to_another_goal_begins_from_what_serves_now() -> None:
    ramp = advance(begin(model("1.0"), model("2.0"), PLAN))
    other = change("m", ramp, model("3.0"), PLAN)
    assert other.model == begin(model("1.0"), model("3.0"), PLAN)
    assert other.how.endswith("the roll-out of 2.0 ends")
    full = advance(ramp)
    assert change("m", full, model("3.0"), PLAN).model.default == "2.0"


def test_change_back_to_the_default_before_is_direct() -> None:
    *under_way, _ = steps_of(begin(model("1.0"), model("2.0"), PLAN))
    for step in under_way:
        back = change("m", step, model("1.0"), PLAN).model
        assert (back.default, back.rollout) == ("1.0", None)


def test_change_beside_a_rollout_keeps_its_step() -> None:
    *under_way, _ = steps_of(begin(model("1.0"), model("2.0"), PLAN))
    wanted = model("2.0", "3.0", guardrails=Guardrails(error_ratio=0.01))
    for step in under_way:
        more = change("m", step, wanted, PLAN).model
        assert (more.allocation, more.default) == (step.allocation, step.default)
        assert goal(more) == wanted
        assert abandon(more).versions == {"1.0": pinned("1.0")}


def test_change_to_rebuilt_bytes_begins_anew() -> None:
    ramp = advance(begin(model("1.0"), model("2.0"), PLAN))
    rebuilt = replace(model("2.0"), versions={"2.0": pinned("2.0", build=1)})
    again = change("m", ramp, rebuilt, PLAN).model
    assert again.rollout is not None
    assert again.rollout.step == 0


def test_change_without_a_plan_ends_a_rollout_at_once() -> None:
    for step in steps_of(begin(model("1.0"), model("2.0"), PLAN)):
        ended = change("m", step, model("2.0"), None).model
        assert ended == replace(model("2.0"), standby={"1.0": pinned("1.0")})


def test_standby_holds_the_default_before_and_no_older_one() -> None:
    second = rollouts.switch(model("1.0"), model("2.0"))
    assert set(second.standby) == {"1.0"}
    third = rollouts.switch(second, model("3.0"))
    assert set(third.standby) == {"2.0"}
    same_default = rollouts.switch(third, model("3.0", "1.0"))
    assert set(same_default.standby) == {"2.0"}
    listed = rollouts.switch(third, model("3.0", "2.0"))
    assert listed.standby == {}


def test_settled_has_the_default_of_now() -> None:
    first = begin(model("1.0"), model("2.0"), PLAN)
    assert settled(first) == model("1.0")
    full = advance(advance(first))
    assert settled(full) == replace(model("2.0"), standby={"1.0": pinned("1.0")})


def faults(each: ReleasedModel) -> list[str]:
    """Return what no release may say."""
    arms = each.allocation.arms if each.allocation is not None else []
    named = [each.default, *(arm.version for arm in arms), *each.aliases.values()]
    if each.rollout is not None:
        named += [each.rollout.version, each.rollout.before, *each.rollout.retire]
    found = [f"{version} is not there" for version in named if version not in each.versions]
    found += [f"{version} is there twice" for version in each.standby if version in each.versions]
    if len(each.standby) > 1:
        found.append("more than the default before is kept")
    return found


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["apply", "apply at once", "advance", "abandon", "settle"]),
            st.sampled_from(VERSIONS),
            st.sets(st.sampled_from(VERSIONS)),
        ),
        max_size=12,
    )
)
def test_no_order_of_changes_leads_to_a_broken_release(
    acts: list[tuple[str, str, set[str]]],
) -> None:
    live = model("1.0")
    for act, default, others in acts:
        aliases = {"champion": default}
        wanted = model(default, *others, aliases=aliases)
        if act.startswith("apply"):
            live = change("m", live, wanted, PLAN if act == "apply" else None).model
            assert goal(live) == wanted
        elif act == "advance" and live.rollout is not None:
            before = goal(live)
            live = advance(live)
            assert goal(live) == before
        elif act == "abandon":
            live = abandon(live)
        elif act == "settle":
            served = live.default
            live = settled(live)
            assert live.default == served, "the end of a roll-out moves no default"
        assert faults(live) == []


def test_broken_release_is_noticed() -> None:
    assert faults(model("1.0", aliases={"champion": "2.0"})) == ["2.0 is not there"]
    assert faults(model("1.0", standby={"1.0": pinned("1.0")})) == ["1.0 is there twice"]
