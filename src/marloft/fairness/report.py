"""The audit for people: one HTML page and its Markdown form, each metric explained first."""

from pathlib import Path

from marloft.contract.audit import (
    FAIRNESS_JSON,
    HEADLINE,
    AuditResult,
    FairnessReport,
    FeatureAudit,
    Mitigation,
)
from marloft.contract.estimate import Estimate
from marloft.fairness import plots
from marloft.fairness.metrics import MEANING, RATE_MEANING, RATES
from marloft.files import write_atomic, write_json
from marloft.report.figures import to_svg
from marloft.report.page import (
    Block,
    Bullets,
    Figure,
    Heading,
    Paragraph,
    Table,
    to_html,
    to_markdown,
)

VERDICTS = {"pass": "pass", "fail": "**fail**", "cannot_tell": "cannot tell"}
BANNERS = {
    "pass": "**Pass.** For every feature the whole interval of the demographic parity difference "
    "lies below {threshold}.",
    "fail": "**Fail.** For {features} the demographic parity difference is above {threshold}, "
    "more than chance explains.",
    "cannot_tell": "**Cannot tell.** For {features} the interval of the demographic parity "
    "difference contains {threshold}, or its bias may explain it: these data show neither a pass "
    "nor a fail.",
}


def write_report(report: FairnessReport, folder: Path) -> list[Path]:
    """Write `fairness.html`, `fairness.md` and `fairness.json` into `folder`; return the paths."""
    title, blocks = f"Fairness of {report.name}", report_blocks(report)
    paths = [folder / f"fairness.{kind}" for kind in ("html", "md")] + [folder / FAIRNESS_JSON]
    write_atomic(paths[0], to_html(title, banner(report), report.verdict, blocks))
    write_atomic(paths[1], to_markdown(title, banner(report), blocks))
    write_json(paths[2], report)
    return paths


def banner(report: FairnessReport) -> str:
    """Return the page's first sentence: the worst verdict and the features that have it."""
    worst = [f.feature for f in report.features if f.result(HEADLINE).verdict == report.verdict]
    return BANNERS[report.verdict].format(
        threshold=f"{report.threshold:g}", features=" and ".join(worst)
    )


def report_blocks(report: FairnessReport) -> list[Block]:
    """Return the page's blocks in reading order."""
    blocks = _what_is_judged(report)
    for feature in report.features:
        blocks += _feature(feature)
    if report.mitigation is not None:
        blocks += _mitigation(report.mitigation)
    return blocks + _method(report)


def _what_is_judged(report: FairnessReport) -> list[Block]:
    part = "" if report.part is None else f" of the part `{report.part}`"
    model = "" if report.model_sha256 is None else f" Model: SHA-256 `{report.model_sha256}`."
    return [
        Heading(text="What is judged"),
        Paragraph(
            text=f"The decision `{report.decision}` on {report.rows:,} rows{part} from "
            f"{report.units:,} units (a unit is a user: whoever has several rows).{model}"
        ),
        Bullets(items=list(MEANING.values())),
        Paragraph(text="Of each group the tables show:"),
        Bullets(items=[f"**{_spaced(rate)}**: {text}." for rate, text in RATE_MEANING.items()]),
        Paragraph(
            text=f"A difference **passes** when its whole interval lies below "
            f"{report.threshold:g} and **fails** when it lies above; a ratio passes above "
            f"{report.ratio_threshold:g} and fails below. Otherwise the data **cannot tell**."
        ),
    ]


def _feature(feature: FeatureAudit) -> list[Block]:
    rows = [_result_row(result) for result in feature.results]
    groups = [
        [g.group, f"{g.units:,}", f"{g.rows:,}", *(_interval(g.rates[rate]) for rate in RATES)]
        for g in feature.groups
    ]
    label = f"Rates per group of {feature.feature}"
    return [
        Heading(text=f"Between the groups of {feature.feature}"),
        Table(
            header=["metric", "value", "interval", "bias-free bound", "threshold", "verdict"],
            rows=rows,
        ),
        Figure(
            svg=to_svg(plots.rates(feature), label),
            caption=f"{label}, with intervals: of all rows, of those with label 1, with label 0.",
        ),
        Table(header=["group", "units", "rows", *(_spaced(rate) for rate in RATES)], rows=groups),
    ]


def _result_row(result: AuditResult) -> list[str]:
    estimate, bound = result.estimate, result.bias_free_bound
    return [
        _spaced(result.metric),
        f"{estimate.value:.3f}",
        _bounds(estimate),
        "-" if bound is None else f"{bound:.3f}",
        f"{result.threshold:g}",
        VERDICTS[result.verdict],
    ]


def _mitigation(mitigation: Mitigation) -> list[Block]:
    rows = [[_spaced(r.metric), _interval(r.before), _interval(r.after)] for r in mitigation.rows]
    verdicts = (mitigation.verdict_before, mitigation.verdict_after)
    rows.append(["verdict (parity)", *(VERDICTS[verdict] for verdict in verdicts)])
    rules = [[r.group, r.rule, f"{r.selection_rate:.3f}"] for r in mitigation.rules]
    text = (
        f"A threshold of its own for each group of **{mitigation.feature}**, by fairlearn's "
        f"ThresholdOptimizer for {_spaced(mitigation.constraint)} at the best "
        f"{_spaced(mitigation.objective)}, learned on {mitigation.fit_rows:,} rows of "
        f"{', '.join(mitigation.fit_parts)} and judged on the rows above. **A threshold changes a "
        "yes/no decision and no ranking**: the scores, their order and the AUC stay what they "
        "were, and so does every list that is sorted by them. It needs to know the group of "
        "whoever it decides about, and it is not part of the served model."
    )
    cost = mitigation.accuracy_cost
    return [
        Heading(text="What group thresholds would change"),
        Paragraph(text=text),
        Table(header=["on the judged rows", "before", "after"], rows=rows),
        Paragraph(
            text=f"**Cost in accuracy:** {cost.value:.4f} {_bounds(cost, 4)}, paired by unit "
            "(below 0: a gain)."
        ),
        Table(header=["group", "selects", "selection rate"], rows=rules),
    ]


def _method(report: FairnessReport) -> list[Block]:
    return [
        Heading(text="How the intervals are made"),
        Bullets(
            items=[
                f"{report.confidence:.0%} percentile intervals over {report.repeats:,} resamples "
                f"(seed {report.seed}) of whole **units**: the rows of one user are not "
                "independent, and resampling rows would make intervals too narrow.",
                "The largest gap between groups is never below 0, and its resamples lie higher "
                "than it: the interval almost never contains 0, even when all groups are alike. So "
                "an interval that excludes 0 shows nothing by itself.",
                "The **bias-free bound** has no such bias: it is the largest of the simultaneous "
                "lower bounds of the signed gaps of all pairs of groups (max-t; Romano, Wolf "
                "2005), and 0 (for ratios 1) when no pair differs beyond chance. A gap fails only "
                "when this bound lies beyond the threshold too.",
                f"Predictions: SHA-256 `{report.predictions_sha256}`.",
            ]
        ),
    ]


def _interval(estimate: Estimate) -> str:
    return f"{estimate.value:.3f} {_bounds(estimate)}"


def _bounds(estimate: Estimate, digits: int = 3) -> str:
    bounds = (estimate.low, estimate.high)
    low, high = ("…" if bound is None else f"{bound:.{digits}f}" for bound in bounds)
    return f"[{low}, {high}]"


def _spaced(name: str) -> str:
    return name.removesuffix("_score").replace("_", " ")
