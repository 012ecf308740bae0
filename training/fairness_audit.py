"""Audit the exported ranker: does "will like it" treat genders and age bands alike?

    python training/fairness_audit.py --artifact build/export/model.onnx --out build/fairness

Scores the held-out ratings with the exported artifact, joins what users said about themselves
(never a feature of the model), and writes into `out`: predictions.parquet, fairness.json,
fairness.html and fairness.md.
"""

import argparse
from pathlib import Path

import msgspec
import polars as pl

from marloft.archive.spec import read_artifact
from marloft.contract.manifest import Artifact
from marloft.errors import DataError, reported
from marloft.fairness.audit import audit_decision
from marloft.fairness.design import read_audit
from marloft.fairness.predictions import write_predictions
from marloft.fairness.report import banner, write_report
from marloft.files import read_json, sidecar_path
from marloft.ranker import prepare
from marloft.ranker.features import FeatureTables
from marloft.runtimes import Runtime, load_runtime

PARTS = ("valid", "test")


def audit_artifact(artifact: Path, data: Path, split: str, config: Path, out: Path) -> None:
    """Score, join, write the predictions, judge them, and report."""
    sidecar = read_artifact(artifact, read_json(sidecar_path(artifact), Artifact).runtime)
    dataset = prepare.read_dataset(data)
    if sidecar.parents.get(prepare.TABLES) != dataset.files[prepare.TABLES]:
        raise DataError(
            f"{artifact} was not exported from the data in {data}; train and export again, so that "
            "no judged row was a training row."
        )
    model = load_runtime(sidecar.runtime, artifact, threads=1)
    tables = FeatureTables.load(data / prepare.TABLES)
    users = pl.read_parquet(data / prepare.USERS).select("user_id", "gender", "age")
    scored = [score_part(model, tables, data, split, part) for part in PARTS]
    predictions = pl.concat(scored).join(users, on="user_id", maintain_order="left")

    path = out / "predictions.parquet"
    write_predictions(path, predictions, model_sha256=sidecar.sha256)
    audit = msgspec.structs.replace(read_audit(config), predictions=str(path))
    report = audit_decision(audit)
    pages = write_report(report, out)
    print(banner(report).replace("**", ""))
    for feature in report.features:
        for result in feature.results:
            low, high = result.estimate.low, result.estimate.high
            print(
                f"  {result.feature:<10} {result.metric:<30} {result.estimate.value:.4f} "
                f"[{low:.4f}, {high:.4f}]  {result.verdict}"
            )
    print("\n".join(map(str, pages)))


def score_part(
    model: Runtime, tables: FeatureTables, data: Path, split: str, part: str
) -> pl.DataFrame:
    """Return user_id, score, label and part of one part's ratings."""
    inputs, likes = prepare.encode_part(data, split, part, tables)
    rows = prepare.read_part(data, split, part)
    scores = model.run(inputs)["score"]
    return rows.select(
        "user_id", score=pl.Series(scores), label=pl.Series(likes), part=pl.lit(part)
    )


def main() -> None:
    """Parse the command line; exit 2 with one line for a user's mistake."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--artifact", type=Path, default=Path("build/export/model.onnx"))
    parser.add_argument("--data", type=Path, default=Path("build/data"))
    parser.add_argument("--split", choices=("random", "chronological"), default="random")
    parser.add_argument("--audit", type=Path, default=Path("training/audit.yaml"))
    parser.add_argument("--out", type=Path, default=Path("build/fairness"))
    options = parser.parse_args()
    with reported("error"):
        audit_artifact(options.artifact, options.data, options.split, options.audit, options.out)


if __name__ == "__main__":
    main()
