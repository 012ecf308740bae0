"""Fairness metrics by their usual definitions, computed by fairlearn, and what each one means.

Bird et al. (2020), Fairlearn: a toolkit for assessing and improving fairness in AI.
"""

from dataclasses import dataclass

import numpy as np
from fairlearn.metrics import (
    MetricFrame,
    false_positive_rate,
    selection_rate,
    true_positive_rate,
)
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, roc_auc_score

from marloft.contract.audit import Metric
from marloft.fairness.predictions import Grouping

RATES = ("selection_rate", "tpr", "fpr", "accuracy", "label_rate", "auc")
MEANING: dict[Metric, str] = {
    "demographic_parity_difference": "**Demographic parity difference**: how much more often the "
    "decision selects a row of the most selected group than one of the least selected, whatever "
    "the labels. 0 means that all groups are selected alike.",
    "demographic_parity_ratio": "**Demographic parity ratio**: the lowest selection rate divided "
    "by the highest; 1 means alike. 0.8 is the four-fifths rule of thumb (29 CFR 1607.4 D).",
    "equalized_odds_difference": "**Equalized odds difference**: among rows of the same label, how "
    "much more often one group is selected than another; the larger of the gaps in true and in "
    "false positive rate. 0 means that the decision errs alike for all.",
    "equalized_odds_ratio": "**Equalized odds ratio**: the smaller of the lowest-to-highest ratios "
    "of the true and of the false positive rate; 1 means alike.",
    "auc_difference": "**AUC difference**: how much better the scores order positives above "
    "negatives within the best served group than within the worst. Thresholds do not enter.",
}
RATE_MEANING = {
    "selection_rate": "share of rows that the decision selects",
    "tpr": "share selected among rows with label 1",
    "fpr": "share selected among rows with label 0",
    "accuracy": "share of rows where decision and label agree",
    "label_rate": "share of rows with label 1, which no model decides",
    "auc": "probability that a row with label 1 scores above one with label 0 of the same group",
}


@dataclass(frozen=True, kw_only=True)
class FairnessMetrics:
    """What the data say: each of `RATES` per group, float64[g], and each gap between groups."""

    rates: dict[str, NDArray[np.float64]]
    gaps: dict[Metric, float]


def measure(
    labels: NDArray[np.int64],
    selected: NDArray[np.int64],
    scores: NDArray[np.float64],
    grouping: Grouping,
) -> FairnessMetrics:
    """Compute rates per group and every fairness metric.

    Args:
        labels: int64[n] of 0 and 1; each group has both.
        selected: int64[n], 1 where the decision selects.
        scores: float64[n].
        grouping: the groups of the n rows.
    """
    groups = grouping.labels()
    frame = MetricFrame(metrics=_METRICS, y_true=labels, y_pred=selected, sensitive_features=groups)
    ranked = MetricFrame(
        metrics={"auc": roc_auc_score}, y_true=labels, y_pred=scores, sensitive_features=groups
    )
    table = frame.by_group.join(ranked.by_group).loc[grouping.names]
    gap, ratio = frame.difference(), frame.ratio()
    return FairnessMetrics(
        rates={name: table[name].to_numpy(dtype=np.float64) for name in RATES},
        gaps={
            "demographic_parity_difference": float(gap["selection_rate"]),
            "demographic_parity_ratio": float(ratio["selection_rate"]),
            "equalized_odds_difference": float(max(gap["tpr"], gap["fpr"])),
            "equalized_odds_ratio": float(min(ratio["tpr"], ratio["fpr"])),
            "auc_difference": float(ranked.difference()["auc"]),
        },
    )


def _label_rate(y_true: NDArray[np.int64], y_pred: NDArray[np.int64]) -> float:  # noqa: ARG001
    return float(np.mean(y_true))


_METRICS = {
    "selection_rate": selection_rate,
    "tpr": true_positive_rate,
    "fpr": false_positive_rate,
    "accuracy": accuracy_score,
    "label_rate": _label_rate,
}
