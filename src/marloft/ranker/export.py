"""The ranker as ONNX and as TorchScript, and the sidecar of a file that answers as its source does.

Both take the arrays that `features.encode` returns, by name, with any number of rows n, and give
`score` float32[n]. The same weights give the same bytes: neither file holds a time or a path.
"""

import logging
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from marloft import files
from marloft.contract.manifest import Artifact
from marloft.contract.manifest import Runtime as RuntimeName
from marloft.errors import DataError
from marloft.ranker import metrics
from marloft.ranker.features import INPUT_NAMES
from marloft.ranker.models import Ranker, Scorer
from marloft.runtimes import Arrays
from marloft.runtimes import export as runtimes_export
from marloft.runtimes.export import MAX_ABS_DIFF, compare_export


def quiet_exporter() -> None:
    """Stop the exporter's warnings about operators of torchvision, which no ranker has."""
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)


def write_onnx(model: Ranker, path: Path) -> None:
    """Write the scorer as one ONNX file, weights included."""
    scorer = Scorer(model).eval()
    rows = torch.export.Dim("n")
    with warnings.catch_warnings():
        # Both come from inside the exporter: its own deprecated call, and a note that the four
        # inputs share the one axis named n, as they should.
        warnings.filterwarnings("ignore", r".*treespec, LeafSpec", FutureWarning)
        warnings.filterwarnings("ignore", r"# The axis name: n will not be used", UserWarning)
        program = torch.onnx.export(
            scorer,
            _example(model),
            dynamo=True,
            input_names=list(INPUT_NAMES),
            output_names=["score"],
            dynamic_shapes={name: {0: rows} for name in INPUT_NAMES},
            verbose=False,
        )
    if program is None:
        raise DataError("torch.onnx.export returned no program; report this with the model.")
    proto = program.model_proto
    _drop_provenance(proto)
    files.write_atomic(path, proto.SerializeToString(deterministic=True))


def write_torchscript(model: Ranker, path: Path) -> None:
    """Write the scorer, traced, as one TorchScript file."""
    runtimes_export.write_torchscript(Scorer(model), _named_example(model), path)


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


def _named_example(model: Ranker) -> dict[str, torch.Tensor]:
    """Return two rows: the exporters take an axis of length 1 for a constant."""
    ids = torch.zeros(2, dtype=torch.int64)
    genres = torch.zeros(2, model.fields.genres.in_features)
    return {"user": ids, "item": ids.clone(), "year": ids.clone(), "genres": genres}


def _example(model: Ranker) -> tuple[torch.Tensor, ...]:
    named = _named_example(model)
    return tuple(named[name] for name in INPUT_NAMES)


def _drop_provenance(proto: onnx.ModelProto) -> None:
    """Remove what the exporter noted about this machine: stack traces with paths."""
    for holder in (proto, proto.graph, *proto.functions):
        holder.ClearField("metadata_props")
        holder.ClearField("doc_string")
    graphs = (proto.graph, *proto.functions)
    values = [v for g in graphs for v in (*g.node, *g.value_info)]
    for value in (*values, *proto.graph.input, *proto.graph.output, *proto.graph.initializer):
        value.ClearField("metadata_props")
        value.ClearField("doc_string")
