"""The model card: `CARD.yaml` in words, filled with the numbers of the run itself.

Mitchell et al. (2019), Model cards for model reporting, doi:10.1145/3287560.3287596. The card
holds no time, path or timing: the same run gives the same bytes.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Any

import msgspec
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from msgspec import Meta, Struct

from marloft.archive.checks.documents import PLACEHOLDER
from marloft.contract.audit import FairnessReport, Mitigation
from marloft.contract.estimate import Estimate
from marloft.contract.manifest import Artifact
from marloft.errors import ConfigError, nearest
from marloft.files import read_json, read_yaml, sidecar_path
from marloft.report.page import Block, Bullets, Heading, Paragraph, Table, to_markdown

Text = Annotated[str, Meta(min_length=1)]
Texts = Annotated[list[Text], Meta(min_length=1)]
_VERDICTS = {"pass": "pass", "fail": "**fail**", "cannot_tell": "cannot tell"}
_TIMING = re.compile(r"(^|[._])(seconds|ms|latency|time|qps|created|date)($|[._])")


class Facts(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Numbers of a JSON file: `show` maps a key (`config.seed` for nested ones) to its label."""

    file: Text
    show: Annotated[dict[str, Text], Meta(min_length=1)]


class DataSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The data: in words, under which licence, and its counts."""

    name: Text
    description: Text
    licence: Text
    facts: Facts


class IntendedUse(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the model is for and what it is not for."""

    primary: Text
    out_of_scope: Texts


class Card(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`CARD.yaml`; paths are relative to it.

    `artifacts` are exported models with their sidecars; `license` is the model's own, by its SPDX
    name in lower case; `task` is a task of the Hugging Face hub.
    """

    title: Text
    summary: Text
    license: Text
    task: Text
    tags: list[Text] = []
    details: Texts
    intended_use: IntendedUse
    data: DataSection
    training: Facts
    artifacts: Texts
    fairness: Text | None = None
    limits: Texts


def read_card(path: Path) -> Card:
    """Read `CARD.yaml` and make its paths relative to the working directory.

    Raises:
        ConfigError: the file is missing or wrong, or a file it names is missing.
    """
    card = read_yaml(path, Card)

    def located(key: str, name: str) -> str:
        found = Path(os.path.normpath(path.parent / name))
        if not found.is_file():
            raise ConfigError(f"{path}: {key}: {found} is no file; make it or correct the path.")
        return str(found)

    def facts(key: str, given: Facts) -> Facts:
        return msgspec.structs.replace(given, file=located(f"{key}.file", given.file))

    data = msgspec.structs.replace(card.data, facts=facts("data.facts", card.data.facts))
    return msgspec.structs.replace(
        card,
        data=data,
        training=facts("training", card.training),
        artifacts=[located("artifacts", name) for name in card.artifacts],
        fairness=card.fairness and located("fairness", card.fairness),
    )


def model_card(card: Card) -> str:
    """Return the model card as Markdown with YAML metadata.

    Raises:
        ConfigError: a file lacks a number that the card shows, a number is a timing, the audit is
            of none of the artifacts, or something is left open.
    """
    artifacts = [read_json(sidecar_path(Path(name)), Artifact) for name in card.artifacts]
    report = None if card.fairness is None else read_json(Path(card.fairness), FairnessReport)
    if report is not None and report.model_sha256 not in {a.sha256 for a in artifacts}:
        raise ConfigError(
            f"{card.fairness} judges {str(report.model_sha256)[:12]}…, none of the card's "
            "artifacts; audit one of them (docs/fairness.md)."
        )
    blocks = _blocks(card, artifacts, report)
    body = to_markdown(card.title, " ".join(card.summary.split()), blocks)
    text = f"---\n{_metadata(card, artifacts[0]).to_yaml()}\n---\n\n{body}"
    if PLACEHOLDER in text:
        raise ConfigError(f"the card still says {PLACEHOLDER}; say it in the card's file.")
    return str(ModelCard(text, ignore_metadata_errors=False))


def _metadata(card: Card, artifact: Artifact) -> ModelCardData:
    results = [
        EvalResult(
            task_type=card.task,
            dataset_type=card.data.name,
            dataset_name=card.data.name,
            metric_type=name,
            metric_value=round(value, 6),
        )
        for name, value in sorted(artifact.metrics.items())
    ]
    return ModelCardData(
        license=card.license,
        pipeline_tag=card.task,
        tags=card.tags or None,
        model_name=card.title if results else None,
        eval_results=results or None,
    )


def _blocks(card: Card, artifacts: list[Artifact], report: FairnessReport | None) -> list[Block]:
    return [
        Heading(text="Model details"),
        *(Paragraph(text=_line(text)) for text in card.details),
        Paragraph(text=f"Licence of the model: {card.license}."),
        Table(
            header=["artifact", "runtime", "bytes", "SHA-256"],
            rows=[[a.file, a.runtime, f"{a.size_bytes:,}", f"`{a.sha256}`"] for a in artifacts],
            numeric=False,
        ),
        Heading(text="Intended use"),
        Paragraph(text=_line(card.intended_use.primary)),
        Paragraph(text="Not for:"),
        Bullets(items=[_line(text) for text in card.intended_use.out_of_scope]),
        Heading(text="Data"),
        Paragraph(text=_line(card.data.description)),
        Paragraph(text=f"**Licence of the data.** {_line(card.data.licence)}"),
        _facts_table(card.data.facts),
        Heading(text="Training"),
        _facts_table(card.training),
        Heading(text="Metrics"),
        *_metrics(card, artifacts),
        Heading(text="Fairness"),
        *_fairness(report, {a.sha256: a.file for a in artifacts}),
        Heading(text="Limits"),
        Bullets(items=[_line(text) for text in card.limits]),
    ]


def _metrics(card: Card, artifacts: list[Artifact]) -> list[Block]:
    names = sorted({name for artifact in artifacts for name in artifact.metrics})
    if not names:
        return [Paragraph(text="The artifacts' sidecars hold no quality metric.")]
    rows = [
        [a.file, *(_number(a.metrics.get(name)) for name in names), f"{a.max_abs_diff:.1e}"]
        for a in artifacts
    ]
    header = ["artifact", *(name.replace("_", " ") for name in names), "from the source model"]
    text = (
        f"Measured with the exported files on held-out rows of {card.data.name}. The last column "
        "is the largest absolute difference from the trained model's scores."
    )
    return [Paragraph(text=text), Table(header=header, rows=rows)]


def _fairness(report: FairnessReport | None, files: dict[str, str]) -> list[Block]:
    """Return the section on fairness; `files` maps each artifact's SHA-256 to its file's name."""
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


def _facts_table(facts: Facts) -> Table:
    content = read_json(Path(facts.file), dict[str, Any])
    rows = [
        [label, _number(_look_up(content, key, facts.file))] for key, label in facts.show.items()
    ]
    return Table(header=["", "value"], rows=rows)


def _look_up(content: dict[str, Any], key: str, file: str) -> Any:
    if _TIMING.search(key):
        raise ConfigError(
            f"show: {key!r} is a time or a timing, which differs from run to run; a card holds "
            "quality only (timings are in the sidecars): take it out."
        )
    node: Any = content
    for part in key.split("."):
        if not isinstance(node, dict) or part not in node:
            known = node if isinstance(node, dict) else content
            raise ConfigError(f"show: {file} has no {key!r}.{nearest(part, known)}")
        node = node[part]
    return node


def _number(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        # A seed such as 2020 is no quantity.
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _line(text: str) -> str:
    return " ".join(text.split())
