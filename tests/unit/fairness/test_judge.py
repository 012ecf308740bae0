"""A verdict needs the whole interval on one side; a gap needs two groups of both labels."""

from pathlib import Path

import pytest

from marloft.contract.audit import Verdict
from marloft.contract.estimate import Estimate
from marloft.errors import DataError
from marloft.fairness.audit import audit_decision
from marloft.fairness.judge import Gap, judge
from tests.unit.fairness.worlds import audit_of, world


def test_group_with_one_label_is_refused_with_the_cure(tmp_path: Path) -> None:
    table = world(users=60, rows_per_user=5, shifts=(0.0, 0.0))
    one_sided = table.filter((table["group"] == "g0") | (table["label"] == 1))
    with pytest.raises(DataError, match=r"group 'g1' of 'group' has only label 1 .* merge it"):
        audit_decision(audit_of(one_sided, tmp_path))


def test_single_group_is_refused(tmp_path: Path) -> None:
    table = world(users=60, rows_per_user=5, shifts=(0.0,))
    with pytest.raises(DataError, match="has the one group 'g0'; a gap needs two"):
        audit_decision(audit_of(table, tmp_path))


@pytest.mark.parametrize(
    ("metric", "low", "high", "bound", "verdict"),
    [
        ("demographic_parity_difference", 0.01, 0.04, 0.0, "pass"),
        ("demographic_parity_difference", 0.06, 0.2, 0.06, "fail"),
        # The interval lies above the threshold, but its bias may have put it there.
        ("demographic_parity_difference", 0.06, 0.2, 0.0, "cannot_tell"),
        ("demographic_parity_difference", 0.01, 0.2, 0.0, "cannot_tell"),
        ("demographic_parity_difference", None, None, None, "cannot_tell"),
        ("demographic_parity_ratio", 0.06, 0.2, 1.0, "pass"),
        ("demographic_parity_ratio", 0.01, 0.04, 0.04, "fail"),
        ("demographic_parity_ratio", 0.01, 0.04, 1.0, "cannot_tell"),
    ],
)
def test_verdict_needs_the_whole_interval_on_one_side(
    metric: str, low: float | None, high: float | None, bound: float | None, verdict: Verdict
) -> None:
    estimate = Estimate(value=0.1, low=low, high=high, p=None, n=100, method="")
    gap = Gap(estimate=estimate, bias_free_bound=bound)
    assert judge(metric, gap, 0.05, enough=True) == verdict  # type: ignore[arg-type]
    assert judge(metric, gap, 0.05, enough=False) == "cannot_tell"  # type: ignore[arg-type]
