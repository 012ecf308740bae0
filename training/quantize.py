"""Quantize the exported ranker to dynamic INT8, and prove how much of it is left.

    python training/quantize.py --run build/train --export build/export

Reads model.onnx and writes model.int8.onnx next to it, with a sidecar: its difference from the
eager source model over the test rows, 50 candidates a run as in a request, and its test AUC. A file
that violates one of the bounds below ends with exit code 2, and nothing is written.

A dynamic INT8 score depends a little on the rows that share its run, so `worst_abs_diff` in the
sidecar states the largest difference over runs of 1 to 8,000 rows in several orders: the archive's
`golden_tolerance` has to be above it.
"""

import argparse
import shlex
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from marloft import files
from marloft.contract.manifest import Artifact
from marloft.errors import DataError, reported
from marloft.ranker import prepare, quantize
from marloft.ranker.features import FeatureTables
from marloft.ranker.models import load_ranker, score
from marloft.runtimes.compare import describe_arrays
from marloft.training.track import RunResult

SOURCE = "model.onnx"
NAME = "model.int8.onnx"


def quantize_export(run: Path, folder: Path, bounds: quantize.Bounds) -> None:
    """Quantize into a scratch folder, measure, and only then publish."""
    result = files.read_json(run / "result.json", RunResult)
    source = files.read_json(files.sidecar_path(folder / SOURCE), Artifact)
    refuse_changed(run, folder / SOURCE, source, result)

    data = Path(result.config.data.folder)
    tables = FeatureTables.load(folder / prepare.TABLES)
    model = load_ranker(run / "model.pt", result.config.model, tables)
    inputs, likes = prepare.encode_part(data, result.config.data.split, "test", tables)
    expected = score(model, inputs)

    with tempfile.TemporaryDirectory(prefix="marloft-quantize-") as scratch:
        path = Path(scratch) / NAME
        quantize.write_int8(folder / SOURCE, path)
        quality = quantize.measure(path, inputs, expected, likes)
        quantize.refuse_degraded(NAME, quality, bounds)
        sidecar = Artifact(
            file=NAME,
            runtime="onnx",
            sha256=files.sha256_file(path),
            size_bytes=path.stat().st_size,
            inputs=describe_arrays(inputs),
            outputs={"score": "float32[n]"},
            parents=source.parents | {SOURCE: source.sha256},
            max_abs_diff=quality.max_abs_diff,
            rows_compared=quality.rows_compared,
            metrics={
                "test_auc": quality.test_auc,
                "test_log_loss": quality.test_log_loss,
                "rank_correlation": quality.rank_correlation,
                "worst_abs_diff": quality.worst_abs_diff,
                "worst_spread": quality.worst_spread,
            },
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            command=shlex.join(["python", *sys.argv]),
        )
        files.write_atomic(folder / NAME, path.read_bytes())
        files.write_json(files.sidecar_path(folder / NAME), sidecar)
    announce(folder / NAME, sidecar, source)


def refuse_changed(run: Path, path: Path, source: Artifact, result: RunResult) -> None:
    """Raise DataError if source, weights or data are not those that belong together."""
    if files.sha256_file(path) != source.sha256:
        raise DataError(f"{path} is not the file its sidecar describes; export again.")
    weights = files.sha256_file(run / "model.pt")
    if not weights == result.weights_sha256 == source.parents.get("model.pt"):
        raise DataError(f"{path} was not exported from {run / 'model.pt'}; export again.")
    data = Path(result.config.data.folder)
    if prepare.read_dataset(data).files != result.data:
        raise DataError(f"{data} was prepared again since {run} was trained on it; train again.")


def announce(path: Path, sidecar: Artifact, source: Artifact) -> None:
    """Print the quantized file and its source."""
    found = sidecar.metrics
    print(
        f"{path}  {sidecar.size_bytes:,} bytes (source {source.size_bytes:,})  "
        f"test AUC {found['test_auc']:.4f} (source {source.metrics['test_auc']:.4f})  "
        f"rank correlation {found['rank_correlation']:.5f}\n"
        f"max |difference| {sidecar.max_abs_diff:.4f} at {quantize.REQUEST_ROWS} candidates a run, "
        f"{found['worst_abs_diff']:.4f} over all compositions, {sidecar.rows_compared:,} rows\n"
        f"a row's score in one batch and in another: {found['worst_spread']:.4f} apart at most",
        flush=True,
    )


def main() -> None:
    """Parse the command line; exit 2 with one line for a user's mistake."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--run", type=Path, default=Path("build/train"))
    parser.add_argument("--export", type=Path, default=Path("build/export"))
    parser.add_argument("--min-rank-correlation", type=float, default=0.999)
    parser.add_argument("--max-auc-loss", type=float, default=0.002)
    parser.add_argument("--max-abs-diff", type=float, default=0.04, help="of any composition")
    options = parser.parse_args()
    bounds = quantize.Bounds(
        min_rank_correlation=options.min_rank_correlation,
        max_auc_loss=options.max_auc_loss,
        max_abs_diff=options.max_abs_diff,
    )
    with reported("error"):
        quantize_export(options.run, options.export, bounds)


if __name__ == "__main__":
    main()
