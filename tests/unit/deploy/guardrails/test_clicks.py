"""An arm's click rate and variance, against tea-tasting's reference and formulas over all users."""

import math

import numpy as np
import pytest

from marloft.deploy.guardrails.clicks import UserClicks, variance_of_loss
from tests.reference_cases import cases, near, table


def test_variance_is_that_of_the_reference_table() -> None:
    (case,) = cases("ratio_delta")
    rows, arms = table(case["inputs"]["table"]), []
    for arm in ("control", "treatment"):
        gathered = UserClicks()
        columns = (rows[arm][case["inputs"][name]] for name in ("numerator", "denominator"))
        for user, (clicks, shown) in enumerate(zip(*columns, strict=True)):
            gathered.add(str(user), clicked=int(clicks), shown=int(shown))
        arms.append(gathered.moments())
    assert arms[0].ctr is not None
    assert arms[1].ctr is not None
    assert arms[1].ctr - arms[0].ctr == near(case, case["expected"]["diff"])
    deviation = math.sqrt(arms[0].variance() + arms[1].variance())
    z = (arms[1].ctr - arms[0].ctr) / deviation
    assert z == near(case, case["expected"]["statistic"])


def test_answers_of_one_user_are_one_unit() -> None:
    once, often = UserClicks(), UserClicks()
    for user, (clicks, shown) in enumerate([(3, 9), (0, 6), (5, 6)]):
        once.add(str(user), clicked=clicks, shown=shown)
        for place in range(shown // 3):
            often.add(str(user), clicked=clicks if place == 0 else 0, shown=3)
    assert often.moments() == once.moments()
    assert once.moments().users == 3


def test_answers_without_a_user_are_units_of_their_own() -> None:
    gathered = UserClicks()
    for _ in range(4):
        gathered.add(None, clicked=1, shown=3)
    assert gathered.moments().users == 4


def test_weights_take_the_share_of_the_hour_out_of_the_rate() -> None:
    """Clicks halve in the evening, when the new version's share is ten times the morning's."""
    rates, shares = (0.4, 0.2), (0.05, 0.5)
    found = {}
    for weighted in (True, False):
        new, control = UserClicks(), UserClicks()
        for hour, (rate, share) in enumerate(zip(rates, shares, strict=True)):
            for place in range(1000):
                user, clicked = f"{hour}-{place}", int(10 * rate)
                if place < 1000 * share:
                    new.add(user, clicked=clicked, shown=10)
                else:
                    weight = share / (1 - share) if weighted else 1.0
                    control.add(user, clicked=clicked, shown=10, weight=weight)
        found[weighted] = (new.moments().ctr, control.moments().ctr)
    assert found[True][1] == pytest.approx(found[True][0])
    new_ctr, control_ctr = found[False]
    assert new_ctr is not None
    assert control_ctr is not None
    assert new_ctr < 0.7 * control_ctr, "the negative control: unweighted, the evening is blamed"


def test_variance_agrees_with_a_bootstrap_over_users() -> None:
    draw = np.random.default_rng(5)
    shown = draw.integers(1, 30, 400)
    clicks = draw.binomial(shown, draw.beta(2, 5, 400))
    gathered = UserClicks()
    for user in range(400):
        gathered.add(str(user), clicked=int(clicks[user]), shown=int(shown[user]))
    picks = draw.integers(0, 400, (4000, 400))
    ratios = clicks[picks].sum(axis=1) / shown[picks].sum(axis=1)
    assert gathered.moments().variance() == pytest.approx(ratios.var(), rel=0.1)


def test_nothing_shown_has_no_rate_and_no_variance() -> None:
    assert UserClicks().moments().ctr is None
    assert math.isnan(UserClicks().moments().variance())


def test_few_clicks_by_chance_do_not_shrink_the_variance_of_the_loss() -> None:
    new, control = UserClicks(), UserClicks()
    for user in range(60):
        new.add(str(user), clicked=int(user == 0), shown=3)
        control.add(str(user), clicked=user % 2, shown=3)
    sides = new.moments(), control.moments()
    own = sides[0].variance() + sides[1].variance()
    assert variance_of_loss(*sides) > 1.5 * own


def test_one_heavy_user_counts_for_few() -> None:
    gathered = UserClicks()
    for user in range(100):
        gathered.add(str(user), clicked=0, shown=3)
    assert gathered.moments().effective_users == pytest.approx(100)
    gathered.add("0", clicked=0, shown=600)
    assert gathered.moments().effective_users < 3
