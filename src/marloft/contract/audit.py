"""What a fairness audit says (`fairness.json`): groups, gaps with intervals, verdicts, mitigation.

Holds no time, path or timing: the same predictions give the same bytes.
"""

from typing import Any, Literal

from msgspec import Struct

from marloft.contract.estimate import Estimate

Verdict = Literal["pass", "fail", "cannot_tell"]
Metric = Literal[
    "demographic_parity_difference",
    "demographic_parity_ratio",
    "equalized_odds_difference",
    "equalized_odds_ratio",
    "auc_difference",
]
RowMetric = Literal["demographic_parity_difference", "equalized_odds_difference", "accuracy", "auc"]
HEADLINE: Metric = "demographic_parity_difference"
FAIRNESS_JSON = "fairness.json"


class GroupResult(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One group of a sensitive feature: its counts, and each rate with its interval.

    `rates` has `selection_rate`, `tpr`, `fpr`, `accuracy`, `label_rate` and `auc`, each in 0…1.
    """

    group: str
    units: int
    rows: int
    rates: dict[str, Estimate]


class AuditResult(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fairness metric between the groups of one feature, and its verdict.

    A difference passes when its interval lies below `threshold` and fails when it lies above; a
    ratio passes above and fails below. An interval across the threshold cannot tell. The largest
    gap of several groups is biased away from "alike", and so is its interval: to fail, the
    `bias_free_bound` has to lie beyond the threshold too (None: the data give no bound).
    """

    metric: Metric
    feature: str
    groups: list[str]
    estimate: Estimate
    bias_free_bound: float | None
    threshold: float
    verdict: Verdict


class FeatureAudit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that was found about one sensitive feature."""

    feature: str
    groups: list[GroupResult]
    results: list[AuditResult]

    def result(self, metric: Metric) -> AuditResult:
        """Return the result of one metric; every audit computes every metric."""
        return next(result for result in self.results if result.metric == metric)


class MitigationRow(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One figure of the decision before and after mitigation, on the same evaluation rows."""

    metric: RowMetric
    before: Estimate
    after: Estimate


class GroupRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The mitigated decision for one group, in words, with the share of its rows it selects."""

    group: str
    rule: str
    selection_rate: float


class Mitigation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Group-specific thresholds, learned on some rows and judged on the evaluation rows.

    `accuracy_cost` is accuracy before minus after, paired by unit. Scores stay as they are, so no
    ranking changes.
    """

    feature: str
    constraint: str
    objective: str
    fit_parts: list[str]
    fit_rows: int
    rules: list[GroupRule]
    rows: list[MitigationRow]
    accuracy_cost: Estimate
    verdict_before: Verdict
    verdict_after: Verdict

    def row(self, metric: str) -> MitigationRow:
        """Return the row of one metric."""
        return next(row for row in self.rows if row.metric == metric)


class FairnessReport(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`fairness.json`: one audit of one model's decision.

    `model_sha256` is the artifact whose scores were judged, None when the predictions do not say;
    `confidence` is the level of every interval.
    """

    format: Literal[1] = 1
    name: str
    decision: str
    model_sha256: str | None
    predictions_sha256: str
    part: str | None
    rows: int
    units: int
    threshold: float
    ratio_threshold: float
    confidence: float
    repeats: int
    seed: int
    features: list[FeatureAudit]
    mitigation: Mitigation | None

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of the headline metric over the features."""
        found = [feature.result(HEADLINE).verdict for feature in self.features]
        order: tuple[Verdict, ...] = ("fail", "cannot_tell", "pass")
        return next(verdict for verdict in order if verdict in found)


def summarize(report: FairnessReport) -> dict[str, Any]:
    """Return the audit in a few numbers, for tables of whole pipelines.

    Returns:
        `threshold`; for each feature its name → `{metric, value, ci, verdict}` of the demographic
        parity difference; `mitigation` → `{feature, before, after, accuracy_cost, …}` or None.
    """
    mitigation = report.mitigation
    features = {f.feature: _headline(f.result(HEADLINE)) for f in report.features}
    return {
        "threshold": report.threshold,
        **features,
        "mitigation": None if mitigation is None else _mitigation(mitigation),
    }


def _headline(result: AuditResult) -> dict[str, Any]:
    return {
        "metric": result.metric,
        "value": result.estimate.value,
        "ci": [result.estimate.low, result.estimate.high],
        "verdict": result.verdict,
    }


def _mitigation(mitigation: Mitigation) -> dict[str, Any]:
    gap = mitigation.row(HEADLINE)
    return {
        "feature": mitigation.feature,
        "before": gap.before.value,
        "after": gap.after.value,
        "after_ci": [gap.after.low, gap.after.high],
        "verdict_after": mitigation.verdict_after,
        "accuracy_cost": mitigation.accuracy_cost.value,
        "accuracy_cost_ci": [mitigation.accuracy_cost.low, mitigation.accuracy_cost.high],
    }
