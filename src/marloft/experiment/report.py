"""The report of an experiment for the people who decide: one HTML page and its Markdown form."""

from pathlib import Path

from marloft.contract.estimate import Estimate
from marloft.experiment import plots
from marloft.experiment.decide import interval_text
from marloft.experiment.design import Experiment
from marloft.experiment.document import design_blocks
from marloft.experiment.results import ArmSummary, Effect, Report
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

BANNERS = {
    "ship": "**Decision: ship {version}.** It does what was hoped for, and no harm is shown.",
    "do_not_ship": "**Decision: do not ship {version}.** The experiment shows harm.",
    "not_shown": "**Decision: not shown.** The data neither support shipping {version} nor show "
    "harm; control stays.",
    "refused": "**Refused.** A check failed, so no effect may be read from these data.",
}
METRIC_NAMES = {"ctr": "CTR", "model_time": "model time", "latency": "latency"}


def write_report(experiment: Experiment, report: Report, folder: Path) -> list[Path]:
    """Write `report.html`, `report.md` and `report.json` into `folder`; return their paths."""
    title = f"Experiment {report.experiment}"
    banner = BANNERS[report.decision].format(version=experiment.candidate.version)
    blocks = report_blocks(experiment, report)
    paths = [folder / f"report.{kind}" for kind in ("html", "md", "json")]
    write_atomic(paths[0], to_html(title, banner, report.decision, blocks))
    write_atomic(paths[1], to_markdown(title, banner, blocks))
    write_json(paths[2], report)
    return paths


def report_blocks(experiment: Experiment, report: Report) -> list[Block]:
    """Return the page's blocks in reading order: decision, checks, people, effects, design."""
    blocks: list[Block] = [Heading(text="Why"), Bullets(items=report.reasons)]
    if report.decision != "refused":
        blocks += _plan_note(experiment, report)
    blocks += [*_people(report), *_checks(report)]
    if report.results.effects:
        blocks += [
            *_effects(experiment, report),
            *_over_time(report),
            *_latency(experiment, report),
        ]
    return [
        *blocks,
        *design_blocks(experiment),
        Paragraph(text=f"Design `{report.results.design_hash}` (SHA-256, weights left out)."),
    ]


def _plan_note(experiment: Experiment, report: Report) -> list[Block]:
    users, planned = sum(arm.users for arm in report.results.arms), experiment.plan.users
    if users >= planned:
        return []
    text = (
        f"**{users:,} of {planned:,} planned users so far.** The intervals are for one look at the "
        "end; deciding earlier, or looking repeatedly until one pleases, errs more often than "
        f"{experiment.decision.alpha:.0%}."
    )
    return [Paragraph(text=text)]


def _people(report: Report) -> list[Block]:
    results = report.results
    header = ["arm", "version", "weight", "users", "requests", "failed", "shown items", "clicks"]
    rows = [[a.name, a.version, *(f"{n:,}" for n in _counts(a))] for a in results.arms]
    text = (
        f"Requests from {results.first_time} to {results.last_time}, releases "
        f"{', '.join(map(str, results.releases)) or 'none'}. Outside: "
        f"{results.outside_requests:,} requests without a user, with a pinned version or of "
        f"another experiment; {results.earlier_requests:,} under earlier weights; "
        f"{results.log.torn_lines} log lines cut short."
    )
    return [
        Heading(text="Who was assigned and served"),
        Table(header=header, rows=rows),
        Paragraph(text=text),
    ]


def _counts(arm: ArmSummary) -> tuple[int, ...]:
    return arm.weight, arm.users, arm.requests, arm.failed, arm.impressions, arm.clicks


def _checks(report: Report) -> list[Block]:
    rows = [
        [
            f"`{check.code}`",
            "passed" if check.ok else f"**failed**: {check.culprit}",
            check.message,
        ]
        for check in report.checks
    ]
    return [
        Heading(text="Can the data be trusted?"),
        Table(header=["check", "result", "detail"], rows=rows, numeric=False),
    ]


def _effects(experiment: Experiment, report: Report) -> list[Block]:
    rows = [_effect_row(effect) for effect in report.results.effects]
    level = f"{1 - experiment.decision.alpha:.0%}"
    header = ["metric (arm)", f"change [{level} interval]", "p", "units", "detectable"]
    caption = (
        f"Change relative to control with {level} intervals. Dotted marks: the limits of the "
        "decision rule. CTR must stay right of its mark, the others left of theirs."
    )
    svg = to_svg(plots.forest(experiment, report.results), "Effects with their intervals")
    return [
        Heading(text="Effects"),
        Figure(svg=svg, caption=caption),
        Table(header=header, rows=rows),
        Paragraph(
            text="The user is the unit: a user's requests are not independent, and counting them "
            "as if they were makes intervals too narrow. Units are users, for latency requests. "
            "Detectable: the smallest difference that this many users show with power "
            f"{experiment.decision.power:.0%}."
        ),
    ]


def _effect_row(effect: Effect) -> list[str]:
    return [
        f"{METRIC_NAMES[effect.metric]} ({effect.arm})",
        interval_text(effect),
        "-" if effect.estimate.p is None else f"{effect.estimate.p:.2g}",
        f"{effect.estimate.n:,}",
        "-" if effect.detectable is None else f"{effect.detectable:.1%}",
    ]


def _over_time(report: Report) -> list[Block]:
    svg = to_svg(plots.ctr_over_time(report.results), "CTR over time per arm")
    rows = [[arm.name, "-" if arm.ctr is None else f"{arm.ctr:.4f}"] for arm in report.results.arms]
    return [
        Heading(text="CTR by arm and over time"),
        Figure(svg=svg, caption="Clicks per shown item; larger dots rest on more items."),
        Table(header=["arm", "CTR"], rows=rows),
    ]


def _latency(experiment: Experiment, report: Report) -> list[Block]:
    labels = sorted({q for arm in report.results.arms for q in arm.latency_ms}, key=float)
    header = ["arm", "model time, mean ms", *(f"p{float(q) * 100:g} ms" for q in labels)]
    rows = [_latency_row(arm, labels) for arm in report.results.arms]
    svg = to_svg(plots.latency(report.results), "Latency quantiles per arm")
    level = f"{1 - experiment.decision.alpha:.0%}"
    return [
        Heading(text="Latency"),
        Table(header=header, rows=rows),
        Figure(svg=svg, caption=f"Latency quantiles with {level} intervals."),
    ]


def _latency_row(arm: ArmSummary, labels: list[str]) -> list[str]:
    mean = "-" if arm.model_time_ms is None else f"{arm.model_time_ms:.3f}"
    return [arm.name, mean, *(_milliseconds(arm.latency_ms.get(label)) for label in labels)]


def _milliseconds(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    low, high = ("…" if b is None else f"{b:.2f}" for b in (estimate.low, estimate.high))
    return f"{estimate.value:.2f} [{low}, {high}]"
