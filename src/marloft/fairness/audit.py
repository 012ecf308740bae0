"""Judges a decision: rates per group, gaps between groups with intervals, a verdict for each."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from marloft.contract.audit import (
    AuditResult,
    FairnessReport,
    FeatureAudit,
    GroupResult,
    Metric,
)
from marloft.fairness import mitigate
from marloft.fairness.bootstrap import Draws, Floats, draw_auc, draw_rates
from marloft.fairness.design import Audit
from marloft.fairness.judge import (
    check_groups,
    gap_estimate,
    judge,
    rate_estimate,
    threshold_of,
    units_per_group,
)
from marloft.fairness.metrics import measure
from marloft.fairness.predictions import Grouping, ScoredRows, read_predictions


def audit_decision(audit: Audit) -> FairnessReport:
    """Run the audit that a file describes.

    Raises:
        DataError: predictions are missing or damaged, or a group lacks rows of one label.
        ConfigError: a column or part that the audit names is missing.
    """
    predictions = read_predictions(audit)
    judged = predictions.judged
    selected = decide(judged, audit)
    mitigation = None
    if audit.mitigation is not None and predictions.fit is not None:
        mitigation = mitigate.evaluate(audit, audit.mitigation, predictions.fit, judged)
    return FairnessReport(
        name=audit.name,
        decision=f"{audit.score} ≥ {audit.decision.score_at_least:g}",
        model_sha256=predictions.model_sha256,
        predictions_sha256=predictions.sha256,
        part=None if audit.parts is None else audit.parts.evaluate,
        rows=len(judged.labels),
        units=judged.unit_count,
        threshold=audit.threshold,
        ratio_threshold=audit.ratio_threshold,
        confidence=audit.confidence,
        repeats=audit.bootstrap.repeats,
        seed=audit.bootstrap.seed,
        features=[
            audit_feature(audit, judged, selected, name, grouping)
            for name, grouping in judged.groupings.items()
        ],
        mitigation=mitigation,
    )


def decide(rows: ScoredRows, audit: Audit) -> NDArray[np.int64]:
    """Return 1 for each row that the audit's decision selects, int64[n]."""
    return (rows.scores >= audit.decision.score_at_least).astype(np.int64)


def audit_feature(
    audit: Audit, rows: ScoredRows, selected: NDArray[np.int64], name: str, grouping: Grouping
) -> FeatureAudit:
    """Judge the decision between the groups of one feature."""
    check_groups(rows, name, grouping)
    measured = measure(rows.labels, selected, rows.scores, grouping)
    repeats, seed = audit.bootstrap.repeats, audit.bootstrap.seed
    draws = draw_rates(
        rows, selected.astype(np.float64), grouping, repeats=repeats, seed=seed
    ) | draw_auc(rows, grouping, repeats=repeats, seed=seed)
    units = units_per_group(rows, grouping)
    enough = min(units) >= audit.min_units
    return FeatureAudit(
        feature=name,
        groups=[
            _group(audit, grouping, place, units[place], measured.rates, draws)
            for place in range(len(grouping.names))
        ],
        results=[
            _result(audit, name, grouping, metric, value, draws, rows.unit_count, enough)
            for metric, value in measured.gaps.items()
        ],
    )


def _group(
    audit: Audit,
    grouping: Grouping,
    place: int,
    units: int,
    rates: dict[str, Floats],
    draws: Draws,
) -> GroupResult:
    estimates = {
        rate: rate_estimate(
            float(values[place]),
            draws.resampled[rate][:, place],
            confidence=audit.confidence,
            units=units,
        )
        for rate, values in rates.items()
    }
    rows = int(np.count_nonzero(grouping.codes == place))
    return GroupResult(group=grouping.names[place], units=units, rows=rows, rates=estimates)


def _result(
    audit: Audit,
    feature: str,
    grouping: Grouping,
    metric: Metric,
    value: float,
    draws: Draws,
    units: int,
    enough: bool,
) -> AuditResult:
    threshold = threshold_of(metric, audit)
    gap = gap_estimate(metric, draws, confidence=audit.confidence, units=units)
    return AuditResult(
        metric=metric,
        feature=feature,
        groups=grouping.names,
        estimate=msgspec.structs.replace(gap.estimate, value=value),
        bias_free_bound=gap.bias_free_bound,
        threshold=threshold,
        verdict=judge(metric, gap, threshold, enough=enough),
    )
