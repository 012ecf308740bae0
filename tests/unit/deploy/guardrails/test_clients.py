"""No client alone moves a release back: rows of counts as all kinds of clients leave them.

The version is as good as control in all of them, and each takes as much as control at a time. The
last tests are the controls: a version that fails, is slow or refuses is rolled back through the
same rows.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from marloft.contract.release import ReleasedModel
from marloft.deploy.gateway.counts import Series
from marloft.deploy.guardrails.overload import SUSTAINED_LOOKS
from tests.unit.deploy.guardrails.watch_harness import (
    CANARY,
    CONTROL,
    NEW_BY_NAME,
    Stage,
    full_step,
    release,
    rollout,
)

# What a version answers in a second, and from how much on it is slow.
CAPACITY, BUSY = 200, 100
FAST_MS, SLOW_MS = 10, 500
STEADY = 50


# A flood, and what is no more than a version takes, though slowly.
FLOOD, LOAD = 2000, 150


class Second(Struct, frozen=True, kw_only=True):
    """What clients do in one second; each count is spread over the arms as users are.

    `asked` is ordinary, slow uploads and malformed bodies too; `read_slowly` and `read_away` are
    answers that their client reads slowly or leaves; `left` are clients that go before the answer,
    `stalled` those that never finish a request; `by_name` ask for the new version.
    """

    asked: int = STEADY
    malformed: int = 0
    read_slowly: int = 0
    read_away: int = 0
    left: int = 0
    stalled: int = 0
    by_name: int = 0


class Version(Struct, frozen=True, kw_only=True):
    """How the new version behaves; by default as control does."""

    fails: float = 0.0
    took_ms: float = FAST_MS
    capacity: int = CAPACITY


class World:
    """Two versions behind one gateway, and a watch that looks once a second."""

    def __init__(self, stage: Stage, model: ReleasedModel, new: Version) -> None:
        self.stage, self.release, self.new = stage, release(model), new
        allocation = model.allocation is not None
        self.shares = {CONTROL: 0.8, CANARY: 0.2} if allocation else {NEW_BY_NAME: 1.0}
        self._waiting: dict[Series, bool] = {}
        stage.look(self.release)

    def pass_a_second(self, second: Second) -> None:
        for series, share in self.shares.items():
            is_new, counted = series.version == "2.0", self.stage.counted
            version = self.new if is_new else Version()
            self._serve(version, series, round(share * second.asked), second.by_name * is_new)
            counted.add(series, round(share * second.malformed), "422")
            counted.add(series, round(share * second.read_slowly), "200", "UT")
            counted.add(series, round(share * second.read_away), "200", "DC")
            counted.add(series, round(share * second.left), "0", "DC")
            counted.add(series, round(share * second.stalled), "408", "SI")
        self.stage.look(self.release)

    def _serve(self, version: Version, series: Series, asked: int, by_name: int) -> None:
        """Answer up to the capacity, slowly when there is much; refuse the rest."""
        counted, load = self.stage.counted, asked + by_name
        # What waits at the end of a flood is answered slowly in the second after it.
        slow = load > BUSY or self._waiting.get(series, False)
        for each, wanted in ((series, asked), (NEW_BY_NAME, by_name)):
            taken = wanted if load <= version.capacity else wanted * version.capacity // load
            failed = round(taken * version.fails)
            counted.add(each, taken - failed)
            counted.add(each, failed, "500")
            counted.time(each, taken, SLOW_MS if slow else version.took_ms)
            counted.add(each, wanted - taken, "503", "UO")
        self._waiting[series] = load > version.capacity


def moves(
    behaviour: list[Second], model: ReleasedModel, new: Version | None = None
) -> list[tuple[float, str]]:
    """Return when a roll-out was moved while clients behaved so, and how."""
    with TemporaryDirectory() as folder:
        stage = Stage(Path(folder))
        try:
            world = World(stage, model, new or Version())
            found: list[tuple[float, str]] = []
            for second in behaviour:
                world.pass_a_second(second)
                found += [(stage.now_s, move) for _, _, move, _ in stage.moves[len(found) :]]
            return found
        finally:
            stage.close()


few = st.integers(0, 50)
kinds = dict.fromkeys(("malformed", "read_slowly", "read_away", "left", "stalled"), few)
asked = st.sampled_from([0, 5, *[STEADY] * 20, FLOOD])
CANARY_STEP, FULL_STEP = rollout(1), full_step()
cheaply = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def alternating(*behaviour: Second) -> list[Second]:
    return [*behaviour] * (60 // len(behaviour))


@cheaply
@given(
    st.lists(
        st.builds(Second, asked=asked, by_name=st.sampled_from([0, 5, LOAD, FLOOD]), **kinds),
        min_size=30,
        max_size=60,
    )
)
@example(alternating(Second(by_name=LOAD)))
@example(alternating(Second(by_name=LOAD), Second()))
@example(alternating(Second(by_name=FLOOD), *[Second()] * 4))
@example(alternating(Second(asked=FLOOD), *[Second()] * 4))
def test_no_behaviour_of_clients_rolls_a_canary_back(behaviour: list[Second]) -> None:
    assert "abandon" not in {move for _, move in moves(behaviour, CANARY_STEP)}


@cheaply
@given(st.lists(st.builds(Second, asked=asked, **kinds), min_size=30, max_size=60))
@example(alternating(Second(asked=FLOOD)))
@example(alternating(Second(asked=FLOOD), *[Second()] * 4))
@example(alternating(Second(asked=0, left=50, stalled=50, read_away=50, read_slowly=50)))
def test_no_behaviour_of_clients_rolls_a_full_step_back(behaviour: list[Second]) -> None:
    assert "abandon" not in {move for _, move in moves(behaviour, FULL_STEP)}


NOISE = [Second(left=20, stalled=5, read_away=10, malformed=3)] * 20


@pytest.mark.parametrize("model", [CANARY_STEP, FULL_STEP], ids=["canary", "full step"])
@pytest.mark.parametrize("new", [Version(fails=0.3), Version(took_ms=SLOW_MS)])
def test_bad_version_is_rolled_back_whatever_its_clients_do(
    model: ReleasedModel, new: Version
) -> None:
    ((at_s, move),) = moves(NOISE, model, new)
    assert (move, at_s < 15) == ("abandon", True)


def test_version_that_is_too_slow_for_its_share_cannot_hide_behind_refusals() -> None:
    ((at_s, move),) = moves([Second()] * 60, CANARY_STEP, Version(capacity=5))
    assert move == "abandon"
    assert SUSTAINED_LOOKS < at_s < SUSTAINED_LOOKS + 15


def test_overloaded_version_never_advances() -> None:
    overload = [Second(asked=FLOOD)] * 100
    assert moves(overload, CANARY_STEP) == []
    calm = moves([Second()] * 100, CANARY_STEP)
    assert [move for _, move in calm] == ["advance"]
