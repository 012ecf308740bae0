"""Measure every form of the ranker on one thread: the latency table.

    python training/benchmark.py --run build/train --export build/export
    python training/benchmark.py --table benchmarks/results/latency.json

The first form times eager PyTorch, TorchScript, ONNX, INT8 ONNX and the distilled student at 1, 50
and 500 candidates, interleaved in one process after a warm-up, and writes
build/benchmark/latency.json with the machine, the commit and the command. The second prints the
documentation's table of a result.
"""

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from marloft import files
from marloft.contract.benchmark import BenchmarkResult
from marloft.contract.manifest import Artifact
from marloft.errors import reported
from marloft.ranker import latency, metrics, prepare, quantize
from marloft.ranker.features import FeatureTables
from marloft.ranker.latency import LatencyRow, Variant
from marloft.ranker.models import load_ranker
from marloft.runtimes import Runtime, load_runtime
from marloft.training.provenance import describe_machine, describe_result
from marloft.training.track import RunResult

ARTIFACTS = ("model.torchscript", "model.onnx", "model.int8.onnx", "student.onnx")
LIBRARIES = ("torch", "onnxruntime", "numpy")
RUNS = {1: 5000, 50: 5000, 500: 2000}
QUICK_RUNS = {1: 500, 50: 500, 500: 200}


def benchmark(run: Path, folder: Path, runs: dict[int, int]) -> BenchmarkResult[LatencyRow]:
    """Load every form, score the test part with each, then time them."""
    machine = describe_machine(LIBRARIES)
    result = files.read_json(run / "result.json", RunResult)
    data = Path(result.config.data.folder)
    tables = FeatureTables.load(folder / prepare.TABLES)
    inputs, likes = prepare.encode_part(data, result.config.data.split, "test", tables)
    rows = np.arange(len(likes))

    def variant(path: Path, runtime: str, loaded: Runtime) -> Variant:
        scores = quantize.run_in_parts(loaded, inputs, rows, quantize.REQUEST_ROWS)
        return Variant(
            artifact=path.name,
            runtime=runtime,
            loaded=loaded,
            size_bytes=path.stat().st_size,
            test_auc=metrics.auc(likes, scores),
        )

    weights = run / "model.pt"
    model = load_ranker(weights, result.config.model, tables)
    variants = [variant(weights, "eager", latency.EagerRuntime(model))]
    for name in ARTIFACTS:
        kind = files.read_json(files.sidecar_path(folder / name), Artifact).runtime
        variants.append(variant(folder / name, kind, load_runtime(kind, folder / name, threads=1)))
    measured = latency.measure(variants, inputs, runs)
    return describe_result(machine, Path(__file__), measured, latency.headline(measured))


def show(result: BenchmarkResult[LatencyRow]) -> None:
    """Print the table, one line per form and number of candidates."""
    table = Table(box=None, pad_edge=False)
    table.add_column("form")
    for head in ("candidates", "p50 ms", "p99 ms", "KiB", "test AUC"):
        table.add_column(head, justify="right")
    for row in sorted(result.rows, key=lambda row: row.candidates):
        cells = (f"{row.p50_ms:.3f}", f"{row.p99_ms:.3f}", f"{row.size_bytes / 1024:,.0f}")
        form = f"{row.artifact} ({row.runtime})"
        table.add_row(form, str(row.candidates), *cells, f"{row.test_auc:.4f}")
    console = Console()
    console.print(table)
    console.print(result.headline, highlight=False, soft_wrap=True)


def main() -> None:
    """Parse the command line; exit 2 with one line for a user's mistake."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--run", type=Path, default=Path("build/train"))
    parser.add_argument("--export", type=Path, default=Path("build/export"))
    parser.add_argument("--out", type=Path, default=Path("build/benchmark/latency.json"))
    parser.add_argument("--quick", action="store_true", help="a tenth of the runs")
    parser.add_argument("--table", type=Path, metavar="FILE", help="print this result's table")
    options = parser.parse_args()
    with reported("error"):
        if options.table is not None:
            print(
                latency.to_markdown(files.read_json(options.table, BenchmarkResult[LatencyRow])),
                end="",
            )
            return
        result = benchmark(options.run, options.export, QUICK_RUNS if options.quick else RUNS)
        files.write_json(options.out, result)
    show(result)


if __name__ == "__main__":
    main()
