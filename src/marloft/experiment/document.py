"""The design of an experiment in words: `experiment_design.md`, generated from its file."""

from marloft.experiment.design import Experiment, design_hash
from marloft.experiment.trust import SRM_ALPHA
from marloft.report.page import Block, Bullets, Heading, Paragraph, Table, to_markdown


def design_document(experiment: Experiment) -> str:
    """Return the design as Markdown, for review before the experiment starts."""
    banner = f"Design `{design_hash(experiment)}` (SHA-256, weights left out)."
    return to_markdown(f"Design of experiment {experiment.name}", banner, design_blocks(experiment))


def design_blocks(experiment: Experiment) -> list[Block]:
    """Return the design's sections: question, split, metrics, decision rule, plan."""
    return [
        Heading(text="Question and design"),
        Paragraph(text=f"**Hypothesis.** {experiment.hypothesis}"),
        *_split(experiment),
        Bullets(items=_metrics(experiment)),
        Paragraph(text="**Decision rule**, fixed before the first request:"),
        Bullets(items=_rule(experiment)),
        Paragraph(
            text=f"**Plan.** {experiment.plan.users:,} users in all arms together, "
            f"{experiment.plan.duration}; one analysis at the end."
        ),
    ]


def _split(experiment: Experiment) -> list[Block]:
    total = sum(arm.weight for arm in experiment.arms)
    roles = ["control", "candidate"] + ["further arm"] * (len(experiment.arms) - 2)
    rows = [
        [arm.name, role, arm.version, f"{arm.weight / total:.1%}"]
        for arm, role in zip(experiment.arms, roles, strict=True)
    ]
    text = (
        f'A user\'s arm is fixed by `xxh64("{experiment.salt}:<user id>") mod {total}`. Requests '
        "without a user or with a pinned version take no part."
    )
    return [
        Table(header=["arm", "role", "version", "share of users"], rows=rows, numeric=False),
        Paragraph(text=text),
    ]


def _metrics(experiment: Experiment) -> list[str]:
    metrics = experiment.metrics
    return [
        f"**CTR** (must not drop): `{metrics.ctr.event}` on the first {metrics.ctr.top} items of "
        "an answer per such item shown, as a ratio of sums over users.",
        f"**Model time** (should drop): mean `{metrics.model_time.field}` per answered request.",
        f"**Latency** (must not rise): the {metrics.latency.quantile:g} quantile of "
        f"`{metrics.latency.field}` per answered request.",
    ]


def _rule(experiment: Experiment) -> list[str]:
    rule = experiment.decision
    level = f"{1 - rule.alpha:.0%}"
    return [
        f"**Ship** when all three hold: the {level} interval of the relative CTR change lies above "
        f"-{rule.ctr_margin:.0%} (non-inferiority), that of model time below 0 (superiority), and "
        f"that of the latency quantile below +{rule.latency_margin:.0%}.",
        f"**Do not ship** when the CTR interval lies below {0 - rule.ctr_harm:.0%} and "
        "non-inferiority is not shown, or when the latency interval lies above "
        f"+{rule.latency_margin:.0%}.",
        "**Not shown** otherwise: control stays.",
        "**Refused** when a check fails: user counts that contradict the weights "
        f"(p < {SRM_ALPHA}), a version that is not its arm's, an arm that is not its "
        "user's, another split than this.",
    ]
