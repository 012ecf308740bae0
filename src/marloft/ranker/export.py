"""The ranker as ONNX and as TorchScript, and the sidecar of a file that answers as its source does.

Both take the arrays that `features.encode` returns, by name, with any number of rows n, and give
`score` float32[n]. The same weights give the same bytes: neither file holds a time or a path.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from marloft.contract.manifest import Artifact
from marloft.contract.manifest import Runtime as RuntimeName
from marloft.ranker import metrics
from marloft.ranker.features import INPUT_NAMES
from marloft.ranker.models import Ranker, Scorer
from marloft.runtimes import Arrays, tracing
from marloft.runtimes.compare import MAX_ABS_DIFF, compare_export


def write_onnx(model: Ranker, path: Path) -> None:
    """Write the scorer as one ONNX file, weights included."""
    tracing.write_onnx(Scorer(model), _example(model), path)


def write_torchscript(model: Ranker, path: Path) -> None:
    """Write the scorer, traced, as one TorchScript file."""
    tracing.write_torchscript(Scorer(model), _example(model), path)


def describe(
    path: Path,
    runtime: RuntimeName,
    inputs: Arrays,
    expected: NDArray[np.float32],
    likes: NDArray[np.int64],
    parents: Mapping[str, str],
    allowed: float = MAX_ABS_DIFF,
) -> Artifact:
    """Compare an exported file with its source model; return its sidecar with its own test figures.

    Args:
        path: the exported file.
        runtime: what runs it.
        inputs: what `features.encode` returned, n rows.
        expected: the source model's scores, float32[n].
        likes: int[n] of 0 and 1.
        parents: what it was made from, with its SHA-256.
        allowed: the largest difference of a score that is accepted.

    Raises:
        DataError: a score is further than that from the source model's.
    """
    compared = compare_export(
        path, runtime=runtime, inputs=inputs, expected={"score": expected}, allowed=allowed
    )
    scores = compared.outputs["score"]
    quality = {
        "test_auc": metrics.auc(likes, scores),
        "test_log_loss": metrics.log_loss(likes, scores),
    }
    return compared.describe(parents, quality)


def _example(model: Ranker) -> dict[str, torch.Tensor]:
    """Return two rows: the exporters take an axis of length 1 for a constant."""
    ids = torch.zeros(2, dtype=torch.int64)
    genres = torch.zeros(2, model.fields.genres.in_features)
    example = {"user": ids, "item": ids.clone(), "year": ids.clone(), "genres": genres}
    return {name: example[name] for name in INPUT_NAMES}
