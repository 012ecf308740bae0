"""One mitigation: group-specific thresholds, learned on other rows than they are judged on.

Hardt, Price, Srebro (2016), Equality of opportunity in supervised learning, by fairlearn's
ThresholdOptimizer. It changes a yes/no decision; scores stay as they are, so no ranking changes.
It needs to know the group of whoever it decides about.
"""

from typing import Any

import numpy as np
from fairlearn.postprocessing import ThresholdOptimizer
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from marloft.contract.audit import GroupRule, Metric, Mitigation, MitigationRow, RowMetric
from marloft.contract.estimate import Estimate
from marloft.errors import DataError
from marloft.fairness.bootstrap import Draws, Floats, draw_auc, draw_rates
from marloft.fairness.design import Audit, MitigationSettings
from marloft.fairness.judge import (
    Gap,
    check_groups,
    gap_estimate,
    judge,
    rate_estimate,
    units_per_group,
)
from marloft.fairness.predictions import Grouping, ScoredRows

_GRID = 1_000


class Rule:
    """A randomized threshold rule per group, as learned by fairlearn."""

    def __init__(self, interpolation: dict[str, Any]) -> None:
        self._interpolation = interpolation

    def selection(self, scores: Floats, grouping: Grouping) -> Floats:
        """Return the probability that each row is selected, float64[n].

        Raises:
            DataError: a group was not among the rows that the rule was learned on.
        """
        chance = np.zeros(len(scores))
        for code, group in enumerate(grouping.names):
            if group not in self._interpolation:
                raise DataError(
                    f"group {group!r} has no rows in mitigation.fit, so no threshold was learned "
                    "for it; fit on more parts."
                )
            chosen = grouping.codes == code
            chance[chosen] = _chance(self._interpolation[group], scores[chosen])
        return chance

    def describe(self, group: str) -> str:
        """Return a group's rule in words."""
        rule = self._interpolation[group]
        parts = [
            (p, op)
            for p, op in ((rule.p0, rule.operation0), (rule.p1, rule.operation1))
            if p > 0.0005
        ]
        words = [_words(op.operator, op.threshold) for _, op in parts]
        text = words[0]
        if len(parts) == 2 and words[0] != words[1]:
            text = f"{words[0]} with probability {parts[0][0]:.2f}, else {words[1]}"
        ignored = rule.get("p_ignore", 0.0)
        if ignored > 0.0005:
            text += (
                f"; but with probability {ignored:.2f} by a coin that selects "
                f"{rule.prediction_constant:.2f}"
            )
        return text


class _Scores(BaseEstimator):  # type: ignore[misc]
    """Passes the scores through: ThresholdOptimizer wants an estimator, here they are columns."""

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def fit(self, x: Floats, y: NDArray[np.int64]) -> "_Scores":  # noqa: ARG002
        return self

    def predict(self, x: Floats) -> Floats:
        return np.asarray(x)[:, 0]


def learn(rows: ScoredRows, grouping: Grouping, *, constraint: str, objective: str) -> Rule:
    """Learn group thresholds that satisfy `constraint` on these rows at the best `objective`."""
    optimizer = ThresholdOptimizer(
        estimator=_Scores(),
        constraints=constraint,
        objective=objective,
        grid_size=_GRID,
        prefit=True,
        predict_method="predict",
    )
    optimizer.fit(rows.scores[:, None], rows.labels, sensitive_features=grouping.labels())
    return Rule(dict(optimizer.interpolated_thresholder_.interpolation_dict))


def evaluate(
    audit: Audit, settings: MitigationSettings, fit: ScoredRows, judged: ScoredRows
) -> Mitigation:
    """Learn on `fit` and compare the decision before and after on `judged`.

    The rule is fixed while units are resampled: the intervals say how sure the comparison on the
    judged rows is, not how much the rule would vary with other rows to learn on.

    Raises:
        DataError: a group lacks rows of one label, or has none to learn on.
    """
    feature = settings.feature
    learned, grouping = fit.groupings[feature], judged.groupings[feature]
    check_groups(fit, feature, learned)
    check_groups(judged, feature, grouping)
    rule = learn(fit, learned, constraint=settings.constraint, objective=settings.objective)
    before = (judged.scores >= audit.decision.score_at_least).astype(np.float64)
    after = rule.selection(judged.scores, grouping)
    enough = min(units_per_group(judged, grouping)) >= audit.min_units
    compared = _Comparison(audit, judged, grouping, before, after)
    parity = compared.gaps("demographic_parity_difference")
    odds = compared.gaps("equalized_odds_difference")
    verdicts = [
        judge("demographic_parity_difference", gap, audit.threshold, enough=enough)
        for gap in parity
    ]
    return Mitigation(
        feature=feature,
        constraint=settings.constraint,
        objective=settings.objective,
        fit_parts=settings.fit,
        fit_rows=len(fit.labels),
        rules=[
            GroupRule(
                group=name,
                rule=rule.describe(name),
                selection_rate=float(after[grouping.codes == code].mean()),
            )
            for code, name in enumerate(grouping.names)
        ],
        rows=[
            _row("demographic_parity_difference", *(gap.estimate for gap in parity)),
            _row("equalized_odds_difference", *(gap.estimate for gap in odds)),
            _row("accuracy", *compared.accuracies()),
            # The rule leaves the scores alone, so this is one number by construction.
            _row("auc", *[compared.auc()] * 2),
        ],
        accuracy_cost=compared.accuracy_cost(),
        verdict_before=verdicts[0],
        verdict_after=verdicts[1],
    )


class _Comparison:
    """Both decisions on the same rows and the same resamples of their units."""

    def __init__(
        self, audit: Audit, judged: ScoredRows, grouping: Grouping, before: Floats, after: Floats
    ) -> None:
        self._level, self._units = audit.confidence, judged.unit_count
        settings = {"repeats": audit.bootstrap.repeats, "seed": audit.bootstrap.seed}
        everyone = Grouping(names=["all"], codes=np.zeros(len(judged.labels), dtype=np.int64))
        both = (before, after)
        self._grouped = [draw_rates(judged, s, grouping, **settings) for s in both]
        self._whole = [draw_rates(judged, s, everyone, **settings) for s in both]
        self._ranked = draw_auc(judged, everyone, **settings)

    def gaps(self, metric: Metric) -> list[Gap]:
        return [
            gap_estimate(metric, draws, confidence=self._level, units=self._units)
            for draws in self._grouped
        ]

    def accuracies(self) -> list[Estimate]:
        return [self._overall(draws, "accuracy") for draws in self._whole]

    def auc(self) -> Estimate:
        return self._overall(self._ranked, "auc")

    def accuracy_cost(self) -> Estimate:
        before, after = self._whole
        value = before.point["accuracy"] - after.point["accuracy"]
        paired = before.resampled["accuracy"] - after.resampled["accuracy"]
        return self._estimate(value, paired)

    def _overall(self, draws: Draws, rate: str) -> Estimate:
        return self._estimate(draws.point[rate], draws.resampled[rate])

    def _estimate(self, value: Floats, resampled: Floats) -> Estimate:
        return rate_estimate(
            float(value[0]), resampled[:, 0], confidence=self._level, units=self._units
        )


def _row(metric: RowMetric, before: Estimate, after: Estimate) -> MitigationRow:
    return MitigationRow(metric=metric, before=before, after=after)


def _chance(rule: Any, scores: Floats) -> Floats:
    """Return fairlearn's interpolated decision as a probability (its `_pmf_predict`)."""
    chance = rule.p0 * rule.operation0(scores) + rule.p1 * rule.operation1(scores)
    ignored = rule.get("p_ignore", 0.0)
    return np.asarray(ignored * rule.get("prediction_constant", 0.0) + (1 - ignored) * chance)


def _words(operator: str, threshold: float) -> str:
    everyone = threshold == (-np.inf if operator == ">" else np.inf)
    if np.isinf(threshold):
        return "everyone" if everyone else "no one"
    return f"score {operator} {threshold:.3f}"
