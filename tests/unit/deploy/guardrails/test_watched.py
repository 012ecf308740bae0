"""Which versions of a release are under watch."""

from marloft.contract.policy import Guardrails
from marloft.contract.release import Allocation, Arm
from marloft.deploy.guardrails.watched import watched_versions
from tests.unit.deploy.guardrails.watch_harness import (
    EXPERIMENT,
    LIMITS,
    full_step,
    release,
    rollout,
)


def test_canary_is_judged_against_the_first_arm() -> None:
    (canary,) = watched_versions(release(rollout(step=1)))
    assert (canary.key, canary.version, canary.percent, canary.step) == ("ranker", "2.0", 20, 1)
    assert canary.control is not None
    assert (canary.control.version, canary.experiment) == ("1.0", "rollout-2.0")


def test_full_step_has_no_control() -> None:
    (full,) = watched_versions(release(full_step()))
    assert (full.version, full.percent, full.control, full.experiment) == ("2.0", 100, None, "")


def test_every_treatment_is_watched_and_has_no_plan() -> None:
    arms = [*EXPERIMENT.allocation.arms, Arm(name="other", version="3.0", weight=25)]  # type: ignore[union-attr]
    split = Allocation(name="feed_ab", salt="s", unit="user_id", arms=arms)
    found = watched_versions(release(EXPERIMENT, allocation=split))
    assert [each.key for each in found] == ["ranker", "ranker@3.0"]
    assert [(each.plan, each.step) for each in found] == [(None, None)] * 2
    assert [each.limits for each in found] == [LIMITS] * 2


def test_nothing_to_judge_is_not_watched() -> None:
    assert watched_versions(release(EXPERIMENT, guardrails=Guardrails())) == []
    assert watched_versions(release(EXPERIMENT, allocation=None)) == []
