"""Which looks are evidence, from what was counted in each."""

from collections.abc import Mapping

from marloft.deploy.gateway.counts import Series, Traffic
from marloft.deploy.guardrails.overload import FEW_BY_NAME, SUSTAINED_LOOKS, Evidence, Overload
from marloft.deploy.guardrails.watched import WatchedVersion, watched_versions
from tests.unit.deploy.guardrails.watch_harness import (
    CANARY,
    CONTROL,
    NEW_BY_NAME,
    OLD_BY_NAME,
    full_step,
    release,
    rollout,
)

(SPLIT,) = watched_versions(release(rollout(1)))
(FULL,) = watched_versions(release(full_step()))
LONGEST_S = 8.0
CALM = {CONTROL: Traffic(answered=40), CANARY: Traffic(answered=10)}


class Looks:
    """One look a second at a watched version."""

    def __init__(self, watched: WatchedVersion = SPLIT) -> None:
        self.overload, self.watched, self.now_s = Overload(), watched, 0.0

    def see(self, counted: Mapping[Series, Traffic], count: int = 1) -> list[Evidence]:
        found = []
        for _ in range(count):
            self.now_s += 1
            found.append(
                self.overload.judge(counted, self.watched, now_s=self.now_s, longest_s=LONGEST_S)
            )
        return found


def refused(answered: int, count: int = 50) -> Traffic:
    return Traffic(answered=answered, refused=count)


def test_calm_looks_are_whole_evidence() -> None:
    assert Looks().see(CALM, 3) == ["whole"] * 3
    assert Looks(FULL).see({NEW_BY_NAME: Traffic(answered=50)}) == ["whole"]


def test_refusals_set_looks_aside_until_what_waited_has_its_answer() -> None:
    looks = Looks()
    assert looks.see(CALM | {CONTROL: refused(40)}) == ["aside"]
    assert looks.see(CALM, 9) == ["aside"] * 7 + ["whole"] * 2


def test_refusals_of_both_are_nobodys_however_long() -> None:
    both = {CONTROL: refused(40), CANARY: refused(10)}
    assert set(Looks().see(both, 3 * SUSTAINED_LOOKS)) == {"aside"}


def test_version_that_keeps_refusing_less_than_control_takes_is_blamed() -> None:
    looks = Looks()
    assert set(looks.see(CALM | {CANARY: refused(5, 5)}, SUSTAINED_LOOKS)) == {"aside"}
    assert looks.see(CALM | {CANARY: refused(5, 5)}, 2) == ["blamed"] * 2


def test_version_that_is_asked_more_than_control_is_not_blamed() -> None:
    for counted in (
        CALM | {CANARY: refused(10, 31)},
        CALM | {CANARY: refused(10), NEW_BY_NAME: Traffic(answered=31)},
        CALM | {CANARY: Traffic(answered=10), NEW_BY_NAME: refused(40, 200)},
    ):
        assert set(Looks().see(counted, 2 * SUSTAINED_LOOKS)) == {"aside"}


def test_one_calm_look_ends_the_suspicion() -> None:
    looks, alone = Looks(), CALM | {CANARY: refused(5, 5)}
    for _ in range(3):
        assert set(looks.see(alone, SUSTAINED_LOOKS)) == {"aside"}
        looks.see(CALM)


def test_full_step_has_nobody_to_compare_with_and_is_not_blamed() -> None:
    looks = Looks(FULL)
    assert set(looks.see({NEW_BY_NAME: refused(50)}, 2 * SUSTAINED_LOOKS)) == {"aside"}


def test_version_that_hangs_is_blamed_at_its_full_step_too() -> None:
    looks = Looks(FULL)
    hangs = {NEW_BY_NAME: refused(0)}
    dropped = {NEW_BY_NAME: Traffic(answered=32, errors=32)}
    nobody = {NEW_BY_NAME: Traffic()}
    assert set(looks.see(hangs, SUSTAINED_LOOKS - 1)) == {"aside"}
    assert looks.see(nobody) + looks.see(dropped) + looks.see(hangs) == [
        *("aside", "aside", "blamed"),
    ]
    assert looks.see({NEW_BY_NAME: refused(1)}) == ["aside"], "it has answered"


def test_clients_that_flood_and_leave_make_no_version_look_dead() -> None:
    gone = {NEW_BY_NAME: Traffic(refused=50, excluded=50)}
    assert set(Looks(FULL).see(gone, 3 * SUSTAINED_LOOKS)) == {"aside"}


def test_other_models_overload_counts_where_no_control_shares_it() -> None:
    other = {Series(model="other", version="1.0"): refused(50)}
    assert Looks().see(CALM | other) == ["whole"]
    assert Looks(FULL).see(CALM | other) == ["aside"]


def test_requests_by_name_take_the_latency_out_and_leave_the_errors() -> None:
    looks = Looks()
    few = {NEW_BY_NAME: Traffic(answered=10 + FEW_BY_NAME)}
    many = {NEW_BY_NAME: Traffic(answered=11 + FEW_BY_NAME)}
    assert looks.see(CALM | few) == ["whole"]
    assert looks.see(CALM | many) == ["errors"]
    assert looks.see(CALM, 8) == ["errors"] * 7 + ["whole"]
    both = many | {OLD_BY_NAME: Traffic(answered=100)}
    assert Looks().see(CALM | both) == ["whole"]
