"""Verdicts on predictions whose fairness is known."""

from pathlib import Path

import msgspec
import pytest

from marloft.contract.audit import HEADLINE, AuditResult, FairnessReport, summarize
from marloft.fairness.audit import audit_decision
from marloft.fairness.design import SensitiveFeature
from tests.unit.fairness.worlds import MODEL, audit_of, world

pytestmark = pytest.mark.slow


def result(report: FairnessReport) -> AuditResult:
    return report.features[0].result(HEADLINE)


def test_planted_gap_fails(tmp_path: Path) -> None:
    table = world(users=600, rows_per_user=10, shifts=(0.0, 0.1))
    found = result(audit_decision(audit_of(table, tmp_path)))
    assert found.verdict == "fail"
    assert found.bias_free_bound is not None
    assert found.bias_free_bound > 0.05


def test_groups_that_are_alike_pass(tmp_path: Path) -> None:
    table = world(users=2_000, rows_per_user=10, shifts=(0.0, 0.0))
    report = audit_decision(audit_of(table, tmp_path))
    assert result(report).verdict == "pass"
    assert report.verdict == "pass"


@pytest.mark.parametrize("gap", [0.0, 0.1])
def test_too_few_users_cannot_tell(tmp_path: Path, gap: float) -> None:
    table = world(users=40, rows_per_user=10, shifts=(0.0, gap))
    assert result(audit_decision(audit_of(table, tmp_path))).verdict == "cannot_tell"


def test_groups_below_min_units_get_no_verdict(tmp_path: Path) -> None:
    table = world(users=40, rows_per_user=200, shifts=(0.0, 0.4), spread=0.0)
    audit = audit_of(table, tmp_path)
    assert result(audit_decision(audit)).verdict == "fail"
    strict = msgspec.structs.replace(audit, min_units=21)
    assert result(audit_decision(strict)).verdict == "cannot_tell"


def test_same_audit_gives_the_same_report(tmp_path: Path) -> None:
    audit = audit_of(world(users=60, rows_per_user=8, shifts=(0.0, 0.1)), tmp_path, mitigate=True)
    assert audit_decision(audit) == audit_decision(audit)


def test_intersections_are_judged_too(tmp_path: Path) -> None:
    table = world(users=300, rows_per_user=8, shifts=(0.0, 0.1))
    audit = msgspec.structs.replace(
        audit_of(table, tmp_path),
        sensitive_features={
            "group": SensitiveFeature(column="group"),
            "age": SensitiveFeature(column="age", edges=[30]),
        },
        intersections=[["group", "age"]],
    )
    features = audit_decision(audit).features
    assert [f.feature for f in features] == ["group", "age", "group|age"]
    assert [g.group for g in features[2].groups] == ["g0|<30", "g1|30+"]


def test_summary_has_value_interval_and_verdict_per_feature(tmp_path: Path) -> None:
    table = world(users=200, rows_per_user=10, shifts=(0.0, 0.1))
    report = audit_decision(audit_of(table, tmp_path, mitigate=True))
    found = summarize(report)
    headline = result(report)
    assert report.mitigation is not None
    assert found["threshold"] == 0.05
    assert found["group"]["value"] == headline.estimate.value
    assert found["group"]["ci"] == [headline.estimate.low, headline.estimate.high]
    assert found["group"]["verdict"] == headline.verdict
    assert found["mitigation"]["before"] == pytest.approx(headline.estimate.value)
    assert found["mitigation"]["accuracy_cost"] == report.mitigation.accuracy_cost.value
    assert report.model_sha256 == MODEL
