"""Export a trained ranker for serving, and prove that the exports answer as the model does.

    python training/export.py --run build/train --out build/export
    python training/export.py --tensorrt fp16      (needs an NVIDIA GPU and marloft[gpu])

Writes into `out`: model.onnx and model.torchscript, each with a sidecar (`<file>.json`: where it
comes from, its difference from the source model, its test AUC), tables.npz, and golden.jsonl (the
source model's answers to twenty requests); with --tensorrt also model.plan and model.engine.json
(the TensorRT and the GPU it is bound to). An export that differs from the source model by more than
1e-4 (1e-2 in fp16) ends with exit code 2, and nothing in `out` changes.
"""

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from numpy.typing import NDArray

from marloft import files
from marloft.contract.manifest import GOLDEN_JSONL, Artifact, EngineFacts
from marloft.contract.manifest import Runtime as RuntimeName
from marloft.errors import reported
from marloft.ranker import export, golden, prepare
from marloft.ranker.models import score
from marloft.ranker.runs import TrainedRun, load_run
from marloft.runtimes.compare import MAX_ABS_DIFF, describe_arrays
from marloft.runtimes.tensorrt import describe_host, engine_file, import_tensorrt
from marloft.training import engine
from marloft.training.checkpoint import WEIGHTS
from marloft.training.engine import EngineSettings

ONNX, PLAN = "model.onnx", "model.plan"
NAMES: dict[RuntimeName, str] = {"onnx": ONNX, "torchscript": "model.torchscript"}
# Half precision keeps 11 bits, and every layer rounds again.
FP16_MAX_ABS_DIFF = 1e-2


def export_run(run: Path, out: Path, settings: EngineSettings | None) -> None:
    """Export into a scratch folder, measure every file, and only then publish."""
    trt = import_tensorrt() if settings else None
    trained = load_run(run)
    inputs, likes = trained.part("test")
    expected = score(trained.model, inputs)
    parents = {
        WEIGHTS: trained.result.weights_sha256,
        prepare.TABLES: trained.result.data[prepare.TABLES],
    }

    with tempfile.TemporaryDirectory(prefix="marloft-export-") as scratch:
        work = Path(scratch)
        export.write_onnx(trained.model, work / ONNX)
        export.write_torchscript(trained.model, work / NAMES["torchscript"])
        sidecars = [
            export.describe(work / name, runtime, inputs, expected, likes, parents)
            for runtime, name in NAMES.items()
        ]
        if settings:
            facts = write_plan(trt, work, inputs, settings)
            allowed = FP16_MAX_ABS_DIFF if settings.precision == "fp16" else MAX_ABS_DIFF
            sidecar = export.describe(
                work / PLAN, "tensorrt", inputs, expected, likes, parents, allowed
            )
            sidecars.append(replace(sidecar, engine=facts))
        publish(work, out, trained, sidecars)


def write_plan(
    trt: Any, work: Path, inputs: Mapping[str, NDArray[Any]], settings: EngineSettings
) -> EngineFacts:
    """Build the engine from the ONNX export; return what it is bound to, written next to it too."""
    facts = engine.facts(describe_host(trt), settings)
    plan = engine.build(trt, work / ONNX, describe_arrays(inputs), settings)
    files.write_atomic(work / PLAN, plan)
    files.write_json(engine_file(work / PLAN), facts)
    return facts


def publish(work: Path, out: Path, trained: TrainedRun, sidecars: list[Artifact]) -> None:
    """Add sidecars, golden answers and tables, and move all of it into `out`."""
    for sidecar in sidecars:
        files.write_json(files.sidecar_path(work / sidecar.file), sidecar)
        announce(sidecar, out)
    answers = golden.golden_answers(trained.model, trained.tables)
    files.write_atomic(work / GOLDEN_JSONL, golden.to_jsonl(answers))
    trained.tables.save(work / prepare.TABLES)
    for file in sorted(work.iterdir()):
        files.write_atomic(out / file.name, file.read_bytes())


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
    parser.add_argument(
        "--tensorrt",
        nargs="?",
        const="fp32",
        choices=("fp32", "fp16"),
        help="also build a TensorRT engine, in fp32 if nothing else is said",
    )
    options = parser.parse_args()
    settings = EngineSettings(precision=options.tensorrt) if options.tensorrt else None
    with reported("error"):
        export_run(options.run, options.out, settings)


if __name__ == "__main__":
    main()
