"""Describes an exported model after comparing it with its source: the sidecar that `pack` asks for.

The source's answers are given as arrays, so that they can come from any framework.
"""

import shlex
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marloft.contract.manifest import Artifact
from marloft.contract.manifest import Runtime as RuntimeName
from marloft.errors import DataError
from marloft.files import sha256_file, sidecar_path, write_json
from marloft.runtimes import load_runtime


def describe_export(
    path: Path,
    *,
    runtime: RuntimeName,
    inputs: Mapping[str, NDArray[Any]],
    expected: Mapping[str, NDArray[Any]],
    parents: Sequence[Path] = (),
    metrics: Mapping[str, float] | None = None,
    allowed: float = 1e-4,
) -> Artifact:
    """Run an exported file on its runtime, compare it, and write `<path>.json` beside it.

    It is run on all rows at once and on the first row alone, since an export often takes the
    number of rows of its example for a constant.

    Args:
        path: the exported file.
        runtime: what runs it.
        inputs: each input by name, n rows.
        expected: what the source model answers, by output name, n rows.
        parents: the files it was made from, such as the trained weights; their hashes are kept.
        metrics: what is known of the model's quality.
        allowed: the largest absolute difference that is accepted.

    Raises:
        DataError: an output is missing, has another shape, or is further away than `allowed`.
    """
    loaded = load_runtime(runtime, path, 1)
    first = {name: array[:1] for name, array in inputs.items()}
    distance = max(
        _distance(path, loaded.run(inputs), expected),
        _distance(path, loaded.run(first), {name: array[:1] for name, array in expected.items()}),
    )
    # Written so that a NaN is refused too.
    if not distance <= allowed:
        raise DataError(
            f"{path} differs from its source model by {distance:.3g}, more than {allowed:g}; "
            "check the export."
        )
    sidecar = Artifact(
        file=path.name,
        runtime=runtime,
        sha256=sha256_file(path),
        size_bytes=path.stat().st_size,
        inputs=_described(inputs),
        outputs=_described(expected),
        parents={parent.name: sha256_file(parent) for parent in parents},
        max_abs_diff=distance,
        rows_compared=len(next(iter(expected.values()))),
        metrics=dict(metrics or {}),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=shlex.join(["python", *sys.argv]),
    )
    write_json(sidecar_path(path), sidecar)
    return sidecar


def _distance(
    path: Path, found: Mapping[str, NDArray[Any]], expected: Mapping[str, NDArray[Any]]
) -> float:
    distances = [0.0]
    for name, wanted in expected.items():
        if name not in found:
            raise DataError(f"{path} has no output {name!r}; it has: {', '.join(found)}.")
        if found[name].shape != wanted.shape:
            raise DataError(
                f"{path} gives {name!r} of shape {found[name].shape}, its source {wanted.shape}; "
                "export it with a dynamic row axis."
            )
        distances.append(float(np.abs(found[name].astype(np.float64) - wanted).max()))
    return max(distances, key=lambda value: np.inf if np.isnan(value) else value)


def _described(arrays: Mapping[str, NDArray[Any]]) -> dict[str, str]:
    """Return dtype and shape of each array in a sidecar's words, such as `float32[n,19]`."""
    return {
        name: f"{array.dtype}[{','.join(['n', *map(str, array.shape[1:])])}]"
        for name, array in arrays.items()
    }
