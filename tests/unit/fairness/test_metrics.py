"""Metrics against values that fairlearn and scikit-learn gave elsewhere."""

from typing import Any

import pytest

from marloft.fairness.metrics import MEANING, RATE_MEANING, RATES, measure
from tests.reference_cases import cases, near
from tests.unit.fairness.reference import rows_of, selected_of


@pytest.mark.parametrize("case", cases("group_fairness_binary"), ids=lambda c: str(c["name"]))
def test_rates_and_gaps_of_a_decision(case: dict[str, Any]) -> None:
    rows, groups = rows_of(case)
    found = measure(rows.labels, selected_of(case), rows.scores, groups)
    for place, group in enumerate(groups.names):
        expected = case["expected"]["by_group"][group]
        for rate in ("selection_rate", "tpr", "fpr", "accuracy"):
            assert found.rates[rate][place] == near(case, expected[rate]), (group, rate)
    for metric in (
        "demographic_parity_difference",
        "demographic_parity_ratio",
        "equalized_odds_difference",
        "equalized_odds_ratio",
    ):
        assert found.gaps[metric] == near(case, case["expected"][metric]), metric


@pytest.mark.parametrize(
    "case", cases("group_fairness_intersectional"), ids=lambda c: str(c["name"])
)
def test_rates_of_combined_groups(case: dict[str, Any]) -> None:
    rows, groups = rows_of(case)
    found = measure(rows.labels, selected_of(case), rows.scores, groups)
    rates = dict(zip(groups.names, found.rates["selection_rate"], strict=True))
    assert rates == near(case, case["expected"]["selection_rate"])
    gap = found.gaps["demographic_parity_difference"]
    assert gap == near(case, case["expected"]["demographic_parity_difference"])


@pytest.mark.parametrize("case", cases("group_fairness_scores"), ids=lambda c: str(c["name"]))
def test_auc_within_groups(case: dict[str, Any]) -> None:
    rows, groups = rows_of(case)
    found = measure(rows.labels, selected_of(case), rows.scores, groups)
    rates = dict(zip(groups.names, found.rates["auc"], strict=True))
    assert rates == near(case, case["expected"]["auc_by_group"])
    assert found.gaps["auc_difference"] == near(case, case["expected"]["auc_gap"])


def test_every_metric_and_rate_is_explained() -> None:
    rows, groups = rows_of(cases("group_fairness_binary")[0])
    found = measure(rows.labels, rows.labels, rows.scores, groups)
    assert set(MEANING) == set(found.gaps)
    assert set(RATE_MEANING) == set(RATES) == set(found.rates)
