"""Resampling: against fairlearn's own bootstrap and scikit-learn, and its rates of error."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from marloft.fairness.bootstrap import (
    bias_free_bound,
    draw_auc,
    draw_rates,
    pair_differences,
    pair_log_ratios,
    percentile_interval,
)
from marloft.fairness.metrics import measure
from marloft.fairness.predictions import Grouping, ScoredRows
from tests.reference_cases import cases, near
from tests.unit.fairness.reference import rows_of, selected_of

BINARY = cases("group_fairness_binary")[0]


@pytest.mark.parametrize("case", cases("group_fairness_bootstrap"), ids=lambda c: str(c["name"]))
def test_rows_as_units_give_fairlearns_intervals(case: dict[str, Any]) -> None:
    rows, groups = rows_of(case)
    selected = selected_of(case).astype(np.float64)
    draws = draw_rates(rows, selected, groups, repeats=4_000, seed=1)
    level = 1 - case["inputs"]["alpha"]
    for rate, expected in case["expected"]["difference_ci"].items():
        gaps = np.abs(pair_differences(draws.resampled[rate])).max(axis=1)
        assert percentile_interval(gaps, level) == near(case, tuple(expected))
    for place, group in enumerate(groups.names):
        for rate, expected in case["expected"]["by_group_ci"][group].items():
            found = percentile_interval(draws.resampled[rate][:, place], level)
            assert found == near(case, tuple(expected))


def test_draws_on_the_data_are_fairlearns_values() -> None:
    rows, groups = rows_of(BINARY)
    selected = selected_of(BINARY)
    expected = measure(rows.labels, selected, rows.scores, groups).rates
    draws = draw_rates(rows, selected.astype(np.float64), groups, repeats=2, seed=0) | draw_auc(
        rows, groups, repeats=2, seed=0
    )
    assert set(draws.point) == set(expected)
    for rate, values in expected.items():
        assert draws.point[rate] == pytest.approx(values, abs=1e-12), rate


def test_resampled_auc_is_scikit_learns_weighted_auc() -> None:
    rows, groups = rows_of(BINARY)
    tied = ScoredRows(
        labels=rows.labels,
        scores=np.round(rows.scores, 1),
        units=rows.units // 4,
        unit_count=int(rows.units.max() // 4) + 1,
        groupings={},
    )
    draws = draw_auc(tied, groups, repeats=3, seed=7)
    share = np.full(tied.unit_count, 1 / tied.unit_count)
    weights = np.random.default_rng(7).multinomial(tied.unit_count, share, size=3)
    for resample, weight in enumerate(weights):
        for code in range(len(groups.names)):
            of = groups.codes == code
            expected = roc_auc_score(
                tied.labels[of], tied.scores[of], sample_weight=weight[tied.units[of]]
            )
            assert draws.resampled["auc"][resample, code] == pytest.approx(expected, abs=1e-12)


def test_users_as_units_give_wider_intervals_than_rows_where_users_differ() -> None:
    draw = np.random.default_rng(0)
    users, each = 200, 20
    own = np.repeat(draw.random(users), each)
    selected = (draw.random(users * each) < own).astype(np.float64)
    labels = draw.integers(0, 2, users * each)
    groups = Grouping(names=["a", "b"], codes=np.repeat(np.arange(users) % 2, each))
    widths = []
    for units in (np.repeat(np.arange(users), each), np.arange(users * each)):
        rows = ScoredRows(
            labels=labels,
            scores=selected,
            units=units,
            unit_count=int(units.max()) + 1,
            groupings={},
        )
        drawn = draw_rates(rows, selected, groups, repeats=1_000, seed=0)
        widths.append(np.std(pair_differences(drawn.resampled["selection_rate"])))
    # The design effect of `each` rows with intra-user correlation 1/3 is 1 + 19/3 (Kish 1965).
    assert widths[0] / widths[1] == pytest.approx((1 + 19 / 3) ** 0.5, rel=0.15)


def test_bound_keeps_its_level_when_groups_are_alike_and_percentiles_do_not() -> None:
    draw = np.random.default_rng(3)
    above_zero, excludes_zero, trials = 0, 0, 300
    for _ in range(trials):
        point = draw.normal(scale=0.02, size=4)
        resampled = point + draw.normal(scale=0.02, size=(400, 4))
        bound = bias_free_bound(pair_differences(point), pair_differences(resampled), 0.95)
        assert bound is not None
        above_zero += bound > 0
        low, _ = percentile_interval(np.ptp(resampled, axis=1), 0.95)
        assert low is not None
        excludes_zero += low > 0
    assert above_zero / trials == pytest.approx(0.05, abs=0.04)
    assert excludes_zero == trials


def test_bound_finds_a_gap_that_is_there() -> None:
    draw = np.random.default_rng(0)
    point = np.array([0.5, 0.5, 0.7])
    resampled = point + draw.normal(scale=0.02, size=(1_000, 3))
    bound = bias_free_bound(pair_differences(point), pair_differences(resampled), 0.95)
    assert bound is not None
    assert 0.1 < bound < 0.2


def test_undefined_resamples_give_no_bound() -> None:
    draws = np.full((100, 1), np.nan)
    assert bias_free_bound(np.array([0.1]), draws, 0.95) is None
    assert percentile_interval(draws[:, 0], 0.95) == (None, None)


def test_log_ratio_of_a_rate_of_zero_is_not_finite() -> None:
    assert not np.isfinite(pair_log_ratios(np.array([0.0, 0.5]))).any()


def test_equal_seeds_give_equal_resamples_for_any_grouping() -> None:
    rows, groups = rows_of(BINARY)
    selected = selected_of(BINARY).astype(np.float64)
    everyone = Grouping(names=["all"], codes=np.zeros(len(selected), dtype=np.int64))
    twice = [draw_rates(rows, selected, everyone, repeats=50, seed=5) for _ in range(2)]
    grouped = draw_rates(rows, selected, groups, repeats=50, seed=5)
    assert (twice[0].resampled["accuracy"] == twice[1].resampled["accuracy"]).all()
    # The whole is the mean of its groups, weighted by how often each was drawn.
    whole, parts = twice[0].resampled["label_rate"][:, 0], grouped.resampled["label_rate"]
    assert ((whole >= parts.min(axis=1) - 1e-12) & (whole <= parts.max(axis=1) + 1e-12)).all()
