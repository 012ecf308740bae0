"""False alarms and delays of the very function that decides live, over thousands of roll-outs."""

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from harness import simulated_rollouts as simulation
from harness.simulated_rollouts import Arm
from marloft.deploy.guardrails.judge import RolloutDecision, decide

pytestmark = pytest.mark.slow

SAME = [world for world in simulation.WORLDS if world.startswith("as good")]


def without_evidence(*facts: Any) -> RolloutDecision:
    """Decide by the limits alone, as most tools do: the negative control."""
    decision = decide(*facts)
    for reading in decision.state.readings:
        if reading.value is None or not reading.control:
            continue
        drop = reading.guardrail == "ctr_drop" and 1 - reading.value / reading.control
        if (drop or reading.value) > reading.limit:
            return replace(decision, move="abandon")
    return decision


@pytest.mark.parametrize(("world", "runs"), list(zip(SAME, (800, 800, 200, 200), strict=True)))
def test_versions_as_good_as_control_are_hardly_ever_rolled_back(world: str, runs: int) -> None:
    assert simulation.simulate(world, runs, seed=11).rolled_back <= 0.01


def test_limits_alone_would_roll_back_many_good_versions() -> None:
    good, rng = Arm(error_ratio=0.005), np.random.default_rng(4)
    ends = [
        simulation.traffic_run(rng, good, good, {1: 30, 25: 30}, without_evidence)
        for _ in range(50)
    ]
    clicks = [
        simulation.clicks_run(rng, ctr=0.3, drop=0.0, shares=(0.2,), judge=without_evidence)
        for _ in range(50)
    ]
    for found in (ends, clicks):
        assert sum(end is not None for end in found) > 0.2 * 50


@pytest.mark.parametrize(
    ("world", "runs", "least"),
    [
        ("errors 5 % against 0 %", 500, 0.99),
        ("latency three times as long", 500, 0.99),
        ("CTR - 30 %, from 0.3", 200, 0.95),
    ],
)
def test_planted_versions_are_rolled_back_in_time(world: str, runs: int, least: float) -> None:
    row = simulation.simulate(world, runs, seed=12)
    assert row.kept is not None
    assert row.kept >= least
