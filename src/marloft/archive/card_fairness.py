"""The model card's section on fairness, from `fairness.json`."""

from marloft.contract.audit import FairnessReport, Mitigation
from marloft.contract.estimate import Estimate
from marloft.report.page import Block, Bullets, Paragraph, Table

_VERDICTS = {"pass": "pass", "fail": "**fail**", "cannot_tell": "cannot tell"}


def fairness_blocks(report: FairnessReport | None, files: dict[str, str]) -> list[Block]:
    """Return the section's blocks; without an audit it says so.

    `files` maps the SHA-256 of each of the card's artifacts to its file's name.
    """
    if report is None:
        return [Paragraph(text="No audit was made: nothing is known about groups.")]
    rows = [
        [
            f"{feature.feature}: {result.metric.replace('_', ' ')}",
            _interval(result.estimate),
            f"{result.threshold:g}",
            _VERDICTS[result.verdict],
        ]
        for feature in report.features
        for result in feature.results
    ]
    judged = files[str(report.model_sha256)]
    blocks: list[Block] = [
        Paragraph(
            text=f"Judged is the decision `{report.decision}` of {judged} on {report.rows:,} rows "
            f"of {report.units:,} users; {report.confidence:.0%} intervals by resampling users. "
            "A verdict needs the whole interval on one side of the threshold. The interval of a "
            "largest gap excludes 0 (ratios: 1) even where groups are alike, so that alone shows "
            "nothing."
        ),
        Table(header=["between groups", "value", "threshold", "verdict"], rows=rows),
        Paragraph(text="The groups:"),
        Bullets(
            items=[
                f"{feature.feature}: "
                + ", ".join(f"{g.group} ({g.units:,} users)" for g in feature.groups)
                for feature in report.features
            ]
        ),
    ]
    return blocks if report.mitigation is None else [*blocks, _mitigation(report.mitigation)]


def _mitigation(mitigation: Mitigation) -> Paragraph:
    gap, cost = mitigation.row("demographic_parity_difference"), mitigation.accuracy_cost
    return Paragraph(
        text=f"Thresholds of their own for the groups of {mitigation.feature} would bring the "
        f"demographic parity difference from {_interval(gap.before)} to {_interval(gap.after)} "
        f"for {cost.value:.4f} [{_bound(cost.low, 4)}, {_bound(cost.high, 4)}] of accuracy. They "
        "change a yes/no decision and no ranking, and are not part of the served model."
    )


def _interval(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} [{_bound(estimate.low)}, {_bound(estimate.high)}]"


def _bound(value: float | None, digits: int = 3) -> str:
    return "…" if value is None else f"{value:.{digits}f}"
