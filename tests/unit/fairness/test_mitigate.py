"""The mitigation: against fairlearn's reference, and only what it claims."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from marloft.contract.audit import Mitigation
from marloft.errors import DataError
from marloft.fairness.audit import audit_decision
from marloft.fairness.bootstrap import draw_rates
from marloft.fairness.mitigate import learn
from tests.reference_cases import cases, near
from tests.unit.fairness.reference import rows_of
from tests.unit.fairness.worlds import audit_of, world

pytestmark = pytest.mark.slow


CASE = cases("threshold_optimizer")[0]
CONSTRAINTS = ["demographic_parity", "equalized_odds", "true_positive_rate_parity"]


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_learned_rule_reaches_fairlearns_rates(constraint: str) -> None:
    rows, groups = rows_of(CASE)
    expected: dict[str, Any] = CASE["expected"][constraint]
    rule = learn(rows, groups, constraint=constraint, objective=CASE["inputs"]["objective"])
    chance = rule.selection(rows.scores, groups)
    rates = draw_rates(rows, chance, groups, repeats=1, seed=0).point
    accuracy = np.mean(np.where(rows.labels == 1, chance, 1 - chance))
    assert accuracy == near(CASE, expected["expected_accuracy"])
    for rate in ("selection_rate", "tpr", "fpr"):
        found = dict(zip(groups.names, rates[rate], strict=True))
        assert found == near(CASE, expected[rate]), rate


@pytest.fixture(scope="module")
def mitigation(tmp_path_factory: pytest.TempPathFactory) -> Mitigation:
    table = world(users=600, rows_per_user=20, shifts=(0.0, 0.12))
    audit = audit_of(table, tmp_path_factory.mktemp("world"), mitigate=True)
    found = audit_decision(audit).mitigation
    assert found is not None
    return found


def test_planted_gap_is_closed_on_rows_it_was_not_learned_on(mitigation: Mitigation) -> None:
    gap = mitigation.row("demographic_parity_difference")
    assert gap.before.value > 0.15
    assert gap.after.value < 0.03
    assert (mitigation.verdict_before, mitigation.verdict_after) == ("fail", "pass")


def test_cost_is_accuracy_before_minus_after(mitigation: Mitigation) -> None:
    accuracy, cost = mitigation.row("accuracy"), mitigation.accuracy_cost
    assert cost.value == pytest.approx(accuracy.before.value - accuracy.after.value)
    assert cost.low is not None
    assert cost.high is not None
    assert cost.low < cost.value < cost.high
    # A shift of one group's scores costs accuracy; taking it back is a gain here.
    assert cost.value < 0


def test_auc_is_unchanged_since_a_threshold_changes_no_ranking(mitigation: Mitigation) -> None:
    auc = mitigation.row("auc")
    assert auc.before == auc.after


def test_group_that_was_not_learned_is_refused(tmp_path: Path) -> None:
    table = world(users=90, rows_per_user=10, shifts=(0.0, 0.1, 0.0))
    hidden = table.filter(~((pl.col("part") == "valid") & (pl.col("group") == "g2")))
    with pytest.raises(DataError, match=r"group 'g2' has no rows in mitigation\.fit"):
        audit_decision(audit_of(hidden, tmp_path, mitigate=True))


def test_rule_is_said_in_words(mitigation: Mitigation) -> None:
    assert all(rule.rule.startswith("score > ") for rule in mitigation.rules)
