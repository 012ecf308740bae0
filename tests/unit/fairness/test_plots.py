"""The audit's picture shows each rate of each group."""

import msgspec

from harness.documents import fairness_report
from marloft.contract.estimate import Estimate
from marloft.fairness.plots import SHOWN, rates


def test_each_rate_of_each_group_has_a_row() -> None:
    (feature,) = fairness_report("a" * 64).features
    known = Estimate(value=0.2, low=0.1, high=0.3, p=None, n=200, method="by hand")
    groups = [
        msgspec.structs.replace(group, rates=dict.fromkeys(SHOWN, known))
        for group in feature.groups
    ]
    (axes,) = rates(msgspec.structs.replace(feature, groups=groups)).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["F", "M"] * len(SHOWN)
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == list(SHOWN.values())
