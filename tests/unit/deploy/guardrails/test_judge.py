"""What breaks a guardrail and what does not, one rule each, and the decision that follows."""

import numpy as np
import pytest

from marloft.contract.live import Reading
from marloft.contract.metric_names import GATEWAY_LATENCY_BUCKETS_US
from marloft.contract.policy import Guardrails, RolloutPlan
from marloft.deploy.gateway.counts import Traffic
from marloft.deploy.guardrails.clicks import Clicks, UserClicks
from marloft.deploy.guardrails.judge import (
    ALPHA,
    LEAST_USERS,
    RolloutDecision,
    SideCounts,
    StepProgress,
    Tally,
    add_counts,
    decide,
    in_words,
    read_guardrails,
)

ERRORS = Guardrails(error_ratio=0.01)
PLAN = RolloutPlan(steps=[20], hold_s=60, min_requests=100)


def step(**more: object) -> StepProgress:
    facts: dict[str, object] = {"version": "2.0", "control": "1.0", "percent": 20, "plan": PLAN}
    facts |= {"held_s": 10.0, "answered": 10, **more}
    return StepProgress(**facts)  # type: ignore[arg-type]


def looks(limits: Guardrails, *pairs: tuple[Traffic, Traffic | None]) -> Tally:
    tally = Tally(control=None if pairs[0][1] is None else Traffic())
    for new, control in pairs:
        tally = add_counts(tally, limits, new, control)
    return tally


def slow(fast: int, slow_ones: int) -> Traffic:
    """Requests of 9 ms and of 90 ms."""
    latency = [0] * (len(GATEWAY_LATENCY_BUCKETS_US) + 1)
    latency[GATEWAY_LATENCY_BUCKETS_US.index(10_000)] = fast
    latency[GATEWAY_LATENCY_BUCKETS_US.index(100_000)] = slow_ones
    return Traffic(answered=fast + slow_ones, latency=tuple(latency))


def only(readings: list[Reading]) -> Reading:
    (reading,) = readings
    return reading


def clicks(users: int, ratio: float, seed: int = 1) -> Clicks:
    draw, gathered = np.random.default_rng(seed), UserClicks()
    for user in range(users):
        gathered.add(str(user), clicked=int(draw.binomial(30, ratio)), shown=30)
    return gathered.moments()


BAD = (Traffic(answered=10, errors=1), Traffic(answered=40))


def test_errors_beyond_limit_with_evidence_roll_back() -> None:
    decision = decide(step(), ERRORS, looks(ERRORS, *[BAD] * 5), SideCounts(), SideCounts())
    assert decision.move == "abandon"
    words = (
        "2.0 rolled back at 20 %: error_ratio 10.0 % against 0.0 % at 1.0, limit 1.0 %, evidence"
    )
    assert decision.reason.startswith(words)
    assert only(decision.state.readings).broken


def test_errors_beyond_limit_without_evidence_hold() -> None:
    reading = only(read_guardrails(ERRORS, looks(ERRORS, BAD, BAD), SideCounts(), SideCounts()))
    assert reading.value == pytest.approx(0.1)
    assert reading.evidence < 1 / ALPHA
    assert not reading.broken


def test_evidence_within_the_limit_holds() -> None:
    few = (Traffic(answered=1000, errors=5), Traffic(answered=4000, errors=0))
    reading = only(read_guardrails(ERRORS, looks(ERRORS, *[few] * 10), SideCounts(), SideCounts()))
    assert reading.evidence > 1 / ALPHA
    assert not reading.broken


def test_errors_of_both_hold_however_many() -> None:
    both = (Traffic(answered=10, errors=5), Traffic(answered=40, errors=20))
    reading = only(
        read_guardrails(ERRORS, looks(ERRORS, *[both] * 100), SideCounts(), SideCounts())
    )
    assert reading.value == 0.5
    assert reading.evidence < 1
    assert not reading.broken


def test_full_step_is_judged_against_the_limit() -> None:
    alone = looks(ERRORS, *[(Traffic(answered=50, errors=3), None)] * 20)
    decision = decide(step(control=None, percent=100), ERRORS, alone, SideCounts())
    assert decision.move == "abandon"
    assert "error_ratio 6.0 %, limit 1.0 %" in decision.reason
    fine = looks(ERRORS, *[(Traffic(answered=500, errors=4), None)] * 100)
    assert not only(read_guardrails(ERRORS, fine, SideCounts())).broken


def test_slow_requests_break_p99() -> None:
    limits = Guardrails(p99_ms=50)
    tally = looks(limits, *[(slow(9, 1), slow(40, 0))] * 6)
    reading = only(read_guardrails(limits, tally, SideCounts(), SideCounts()))
    assert reading.broken
    assert reading.value is not None
    assert 75 < reading.value <= 100
    assert "p99_ms 97.5 ms against 9.97 ms at 1.0, limit 50 ms" in in_words(reading, "1.0")


def test_slow_requests_up_to_the_limit_hold() -> None:
    limits = Guardrails(p99_ms=100)
    reading = only(
        read_guardrails(
            limits, looks(limits, *[(slow(9, 1), slow(40, 0))] * 6), SideCounts(), SideCounts()
        )
    )
    assert (reading.evidence, reading.broken) == (1.0, False)


def test_p99_is_beyond_a_bound_exactly_when_one_in_a_hundred_is() -> None:
    for fast, late in ((990, 10), (989, 11)):
        traffic = slow(fast, late)
        assert traffic.p99_ms is not None
        assert (traffic.p99_ms > 10) == (traffic.slower(10) > 0.01 * traffic.timed)


def test_p99_agrees_with_the_sample_within_its_bucket() -> None:
    sample = np.random.default_rng(2).lognormal(np.log(12), 0.5, 20_000)
    bounds = np.array([0, *GATEWAY_LATENCY_BUCKETS_US, np.inf]) / 1e3
    latency = tuple(np.histogram(sample, bounds)[0].tolist())
    found = Traffic(latency=latency).p99_ms
    true = float(np.quantile(sample, 0.99))
    place = int(np.searchsorted(bounds, true))
    assert found is not None
    assert bounds[place - 1] <= found <= bounds[place]


def test_no_requests_have_no_p99() -> None:
    assert Traffic().p99_ms is None


@pytest.mark.parametrize(("ratio", "broken"), [(0.2, True), (0.3, False), (0.29, False)])
def test_loss_of_clicks_breaks_ctr(ratio: float, broken: bool) -> None:
    limits = Guardrails(ctr_drop=0.1)
    sides = SideCounts(clicks=clicks(200, ratio)), SideCounts(clicks=clicks(800, 0.3, seed=2))
    reading = only(read_guardrails(limits, Tally(), *sides))
    assert reading.broken == broken
    assert (reading.evidence > 1 / ALPHA) == broken


def test_few_users_hold_whatever_they_click() -> None:
    limits, many = Guardrails(ctr_drop=0.1), SideCounts(clicks=clicks(800, 0.6))
    for users, broken in ((LEAST_USERS - 1, False), (LEAST_USERS, True)):
        new = SideCounts(clicks=clicks(users, 0.1))
        assert only(read_guardrails(limits, Tally(), new, many)).broken == broken


def test_restarts_break_at_the_limit_unless_control_restarts_as_often() -> None:
    limits = Guardrails(worker_restarts=3)
    for new, control, broken in ((3, 0, True), (2, 0, False), (3, 3, False), (4, 3, True)):
        reading = only(
            read_guardrails(limits, Tally(), SideCounts(restarts=new), SideCounts(restarts=control))
        )
        assert reading.broken == broken, (new, control)
    alone = only(read_guardrails(limits, Tally(control=None), SideCounts(restarts=3)))
    assert alone.broken
    assert in_words(alone, None) == "worker_restarts 3, limit 3"


def test_no_limit_is_not_watched() -> None:
    assert (
        read_guardrails(
            Guardrails(), looks(ERRORS, *[BAD] * 9), SideCounts(restarts=9), SideCounts()
        )
        == []
    )


@pytest.mark.parametrize(
    ("held_s", "answered", "move"),
    [(60.0, 100, "advance"), (59.9, 100, "hold"), (60.0, 99, "hold")],
)
def test_step_advances_after_hold_and_answers(held_s: float, answered: int, move: str) -> None:
    decision = decide(
        step(held_s=held_s, answered=answered), ERRORS, Tally(), SideCounts(), SideCounts()
    )
    assert decision.move == move
    assert bool(decision.reason) == (move == "advance")


def test_broken_step_goes_back_even_when_its_hold_is_over() -> None:
    tally = looks(ERRORS, *[BAD] * 5)
    decision: RolloutDecision = decide(
        step(held_s=99, answered=999), ERRORS, tally, SideCounts(), SideCounts()
    )
    assert decision.move == "abandon"


def test_experiment_never_advances() -> None:
    decision = decide(step(plan=None, held_s=1e6, answered=10**6), ERRORS, Tally(), SideCounts())
    assert decision.move == "hold"
