"""Export a trained ranker for serving, and prove that the exports answer as the model does.

    python training/export.py --run build/train --out build/export

Writes into `out`: model.onnx and model.torchscript, each with a sidecar (`<file>.json`: where it
comes from, its distance from the source model, its test AUC), tables.npz, and golden.jsonl (the
source model's answers to twenty requests). An export that differs from the source model by more
than 1e-4 ends with exit code 2, and nothing in `out` changes.
"""

import argparse
import logging
import shlex
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from marloft import files
from marloft.contract.manifest import GOLDEN_JSONL, Artifact
from marloft.contract.manifest import Runtime as RuntimeName
from marloft.errors import DataError, MarloftError
from marloft.ranker import export, golden, prepare
from marloft.ranker.features import FeatureTables
from marloft.ranker.models import load_ranker, score
from marloft.training.track import RunResult

NAMES: dict[RuntimeName, str] = {"onnx": "model.onnx", "torchscript": "model.torchscript"}


def export_run(run: Path, out: Path) -> None:
    """Export into a scratch folder, measure every file, and only then publish."""
    result = files.read_json(run / "result.json", RunResult)
    data = Path(result.config.data.folder)
    refuse_changed(run, data, result)

    tables = FeatureTables.load(data / prepare.TABLES)
    model = load_ranker(run / "model.pt", result.config.model, tables)
    inputs, likes = prepare.encode_part(data, result.config.data.split, "test", tables)
    expected = score(model, inputs)

    with tempfile.TemporaryDirectory(prefix="marloft-export-") as scratch:
        work = Path(scratch)
        export.write_onnx(model, work / NAMES["onnx"])
        export.write_torchscript(model, work / NAMES["torchscript"])
        parents = {
            "model.pt": result.weights_sha256,
            prepare.TABLES: result.data[prepare.TABLES],
        }
        for runtime, name in NAMES.items():
            measured = export.measure(work / name, runtime, inputs, expected, likes)
            sidecar = Artifact(
                file=name,
                runtime=runtime,
                sha256=files.sha256_file(work / name),
                size_bytes=(work / name).stat().st_size,
                inputs=export.describe_inputs(inputs),
                outputs={"score": "float32[n]"},
                parents=parents,
                max_abs_diff=measured.max_abs_diff,
                rows_compared=measured.rows_compared,
                metrics={"test_auc": measured.test_auc, "test_log_loss": measured.test_log_loss},
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                command=shlex.join(["python", *sys.argv]),
            )
            files.write_json(files.sidecar_path(work / name), sidecar)
            announce(sidecar, out)
        files.write_atomic(
            work / GOLDEN_JSONL, golden.to_jsonl(golden.golden_answers(model, tables))
        )
        tables.save(work / prepare.TABLES)
        for file in sorted(work.iterdir()):
            files.write_atomic(out / file.name, file.read_bytes())


def refuse_changed(run: Path, data: Path, result: RunResult) -> None:
    """Raise DataError if the weights or the data are no longer those of the run's result."""
    if files.sha256_file(run / "model.pt") != result.weights_sha256:
        raise DataError(
            f"{run / 'model.pt'} is not the file that result.json describes; train again."
        )
    if prepare.read_dataset(data).files != result.data:
        raise DataError(
            f"{data} was prepared anew since {run} was trained on it; train again, so that no "
            "test row was a training row."
        )


def announce(sidecar: Artifact, out: Path) -> None:
    """Print one exported file."""
    print(
        f"{out / sidecar.file}  {sidecar.size_bytes:,} bytes  "
        f"test AUC {sidecar.metrics['test_auc']:.4f}  "
        f"max |difference| {sidecar.max_abs_diff:.1e} over {sidecar.rows_compared:,} rows",
        flush=True,
    )


def main() -> None:
    """Parse the command line; exit 2 with one line for a user's mistake."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--run", type=Path, default=Path("build/train"))
    parser.add_argument("--out", type=Path, default=Path("build/export"))
    options = parser.parse_args()
    # The exporter warns about operators of torchvision, which no ranker has.
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    try:
        export_run(options.run, options.out)
    except MarloftError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
