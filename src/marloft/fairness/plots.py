"""The audit's pictures: one per feature, each group's rates with their intervals."""

from matplotlib.figure import Figure

from marloft.contract.audit import FeatureAudit
from marloft.report.figures import COLOURS, canvas, draw_interval

SHOWN = {"selection_rate": "selected", "tpr": "selected, label 1", "fpr": "selected, label 0"}


def rates(feature: FeatureAudit) -> Figure:
    """Draw selection rate, true and false positive rate of every group, in per cent."""
    groups = feature.groups
    figure, axes = canvas(height=0.32 * len(SHOWN) * len(groups) + 1.3)
    names = []
    for block, (rate, label) in enumerate(SHOWN.items()):
        for place, group in enumerate(groups):
            row = block * (len(groups) + 1) + place
            draw_interval(axes, row, group.rates[rate], COLOURS[block])
            names.append((row, group.group))
        axes.plot([], [], "o-", color=COLOURS[block], label=label)
    axes.set_yticks([row for row, _ in names], [name for _, name in names])
    axes.invert_yaxis()
    axes.set_xlabel("share of the group's rows, %")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
