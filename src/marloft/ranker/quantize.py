"""The ranker as dynamic INT8 ONNX, and how far its answers move.

Dynamic quantization takes the scale of a layer's activations from all rows of a run, so a row's
score depends a little on the rows that share the run: the request's other candidates, and in a
worker the other requests of the batch. So a difference is stated with how the rows were run.
https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from onnxruntime.quantization import quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process

from marloft import files
from marloft.errors import DataError
from marloft.ranker import metrics
from marloft.runtimes import Runtime, load_runtime

REQUEST_ROWS = 50
# From one candidate alone to a full batch of the largest requests (16 of 500).
BATCH_ROWS = (1, 2, 10, REQUEST_ROWS, 500, 8000)
_SHUFFLES = 3

Inputs = Mapping[str, NDArray[Any]]
Scores = NDArray[np.float32]


class QuantizationQuality(Struct, frozen=True, kw_only=True):
    """How an INT8 file answers the test rows, against the source model.

    `max_abs_diff` and the four metrics are of runs of 50 rows, one realistic request each;
    `worst_abs_diff` is the largest difference over all compositions tried: runs of 1 to 8,000 rows
    in the rows' own order and shuffled; `worst_spread` is the largest difference between two
    scores of one row among them: how far a batch can move an answer from the one given alone.
    `auc_loss` is the source's test AUC minus the file's.
    """

    max_abs_diff: float
    worst_abs_diff: float
    worst_spread: float
    rows_compared: int
    rank_correlation: float
    test_auc: float
    auc_loss: float
    test_log_loss: float


class Bounds(Struct, frozen=True, kw_only=True):
    """What an INT8 file must keep of its source to be published."""

    min_rank_correlation: float
    max_auc_loss: float
    max_abs_diff: float


def write_int8(source: Path, path: Path) -> None:
    """Quantize an ONNX file: weights to int8 now, activations to uint8 at run time.

    Weights get 7 bits: with 8, x64 CPUs without VNNI instructions saturate and answer differently
    from the machine that measured. The same source gives the same bytes.
    """
    with tempfile.TemporaryDirectory(prefix="marloft-int8-") as scratch:
        prepared, quantized = Path(scratch) / "prepared.onnx", Path(scratch) / "quantized.onnx"
        # The symbolic part of shape inference is for transformers and needs sympy.
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_dynamic(prepared, quantized, reduce_range=True)
        files.write_atomic(path, quantized.read_bytes())


def measure(
    path: Path, inputs: Inputs, expected: Scores, likes: NDArray[np.int64]
) -> QuantizationQuality:
    """Run an INT8 file on the test rows in many compositions and compare with the source.

    Args:
        path: the quantized file.
        inputs: what `features.encode` returned, n rows.
        expected: the source model's scores, float32[n].
        likes: int[n] of 0 and 1.
    """
    runtime = load_runtime("onnx", path, threads=1)
    rows = np.arange(len(expected))
    scores = run_in_parts(runtime, inputs, rows, REQUEST_ROWS)
    auc = metrics.auc(likes, scores)
    worst, spread = _worst_distances(runtime, inputs, expected)
    return QuantizationQuality(
        max_abs_diff=_distance(scores, expected),
        worst_abs_diff=worst,
        worst_spread=spread,
        rows_compared=len(expected),
        rank_correlation=metrics.rank_correlation(scores, expected),
        test_auc=auc,
        auc_loss=metrics.auc(likes, expected) - auc,
        test_log_loss=metrics.log_loss(likes, scores),
    )


def refuse_degraded(name: str, quality: QuantizationQuality, bounds: Bounds) -> None:
    """Raise DataError when a file keeps less of its source than `bounds` ask for."""
    # Written so that a NaN is refused too.
    if not quality.rank_correlation >= bounds.min_rank_correlation:
        found = f"reorders rows (rank correlation {quality.rank_correlation:.5f}, at least "
        allowed, option = f"{bounds.min_rank_correlation:g}", "--min-rank-correlation"
    elif not quality.auc_loss <= bounds.max_auc_loss:
        found = f"loses {quality.auc_loss:.5f} of test AUC (at most "
        allowed, option = f"{bounds.max_auc_loss:g}", "--max-auc-loss"
    elif not quality.worst_abs_diff <= bounds.max_abs_diff:
        found = f"moves a score by {quality.worst_abs_diff:.4f} (at most "
        allowed, option = f"{bounds.max_abs_diff:g}", "--max-abs-diff"
    else:
        return
    raise DataError(
        f"{name} {found}{allowed} is allowed); nothing was written, serve the source model or "
        f"loosen {option}."
    )


def run_in_parts(runtime: Runtime, inputs: Inputs, order: NDArray[np.integer], size: int) -> Scores:
    """Return the scores float32[n] of rows run `size` at a time in the given order."""
    scores = np.empty(len(order), dtype=np.float32)
    for first in range(0, len(order), size):
        part = order[first : first + size]
        scores[part] = runtime.run({name: rows[part] for name, rows in inputs.items()})["score"]
    return scores


def _worst_distances(runtime: Runtime, inputs: Inputs, expected: Scores) -> tuple[float, float]:
    """Return the largest difference from the source and between two compositions."""
    draw, rows = np.random.default_rng(0), np.arange(len(expected))
    orders = [rows, *(draw.permutation(rows) for _ in range(_SHUFFLES))]
    lowest, highest = np.full(len(rows), np.inf), np.full(len(rows), -np.inf)
    for size in BATCH_ROWS:
        for order in orders if size > 1 else [rows]:
            scores = run_in_parts(runtime, inputs, order, size)
            # NumPy's minimum and maximum keep a NaN, so that it is refused later.
            lowest, highest = np.minimum(lowest, scores), np.maximum(highest, scores)
    worst = max(_distance(lowest, expected), _distance(highest, expected))
    return worst, float(np.max(highest - lowest))


def _distance(scores: NDArray[np.floating], expected: Scores) -> float:
    return float(np.max(np.abs(scores.astype(np.float64) - expected.astype(np.float64))))
