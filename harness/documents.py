"""A model card and a fairness audit of an artifact, as the pipeline leaves them for `pack`."""

from pathlib import Path

from marloft.contract.audit import (
    AuditResult,
    FairnessReport,
    FeatureAudit,
    GroupResult,
)
from marloft.contract.estimate import Estimate
from marloft.contract.manifest import Artifact
from marloft.files import read_json, sidecar_path, write_atomic, write_json


def write_documents(build: Path, artifact: Path) -> None:
    """Write `card/model_card.md` and `fairness/fairness.json` about the artifact below `build`."""
    sha256 = read_json(sidecar_path(artifact), Artifact).sha256
    write_atomic(build / "card" / "model_card.md", card_text(sha256))
    write_json(build / "fairness" / "fairness.json", fairness_report(sha256))


def card_text(sha256: str) -> str:
    """Return the smallest acceptable card of an artifact."""
    return f"---\nlicense: apache-2.0\n---\n\n# Tiny ranker\n\nArtifact `{sha256}`.\n"


def fairness_report(sha256: str) -> FairnessReport:
    """Return an audit of one feature with two groups, without mitigation."""
    known = Estimate(value=0.02, low=0.001, high=0.04, p=None, n=200, method="by hand")
    result = AuditResult(
        metric="demographic_parity_difference",
        feature="gender",
        groups=["F", "M"],
        estimate=known,
        bias_free_bound=0.0,
        threshold=0.05,
        verdict="pass",
    )
    groups = [
        GroupResult(group=name, units=100, rows=1_000, rates={"selection_rate": known})
        for name in ("F", "M")
    ]
    return FairnessReport(
        name="tiny",
        decision="score ≥ 0.5",
        model_sha256=sha256,
        predictions_sha256="0" * 64,
        part="test",
        rows=2_000,
        units=200,
        threshold=0.05,
        ratio_threshold=0.8,
        confidence=0.95,
        repeats=2_000,
        seed=0,
        features=[FeatureAudit(feature="gender", groups=groups, results=[result])],
        mitigation=None,
    )
