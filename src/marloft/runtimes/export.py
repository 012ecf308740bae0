"""From a trained model to an artifact that `marloft pack` takes: the file and its sidecar.

The sidecar says how far the exported file is from its source model, so that nothing is packed
that was never compared. `export_torchscript` does all of it; for a file that another exporter
wrote (torch.onnx, skl2onnx), `describe_export` does the rest. The source's answers are given as
arrays, so that they can come from any framework.
"""

import io
import shlex
import sys
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from marloft import files
from marloft.contract.manifest import Artifact, GoldenAnswer
from marloft.contract.manifest import Runtime as RuntimeName
from marloft.errors import DataError
from marloft.runtimes.load import load_runtime
from marloft.runtimes.protocol import Arrays

if TYPE_CHECKING:
    import torch

MAX_ABS_DIFF = 1e-4
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


def write_torchscript(
    module: "torch.nn.Module", example: "Mapping[str, torch.Tensor]", path: Path
) -> None:
    """Trace a module and write one TorchScript file, without paths or times in it.

    The same weights give the same bytes, the first time in a process: torch numbers the classes
    of later ones.

    Args:
        module: takes the inputs by name and returns one tensor, `score`.
        example: a few rows of each input; two at least, since tracing takes 1 for a constant.
        path: where the file goes.
    """
    import torch  # noqa: PLC0415 - a worker that serves ONNX needs no torch

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # TorchScript is deprecated upstream; this export stays while its runtime is supported.
        warnings.filterwarnings("ignore", r".*torch\.jit\.", DeprecationWarning)
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            module.eval(), example_kwarg_inputs=dict(example)
        )
        torch.jit.save(traced, buffer)
    files.write_atomic(path, _without_debug(buffer.getvalue()))


def export_torchscript(
    module: "torch.nn.Module", inputs: "Mapping[str, torch.Tensor]", path: Path
) -> NDArray[np.float32]:
    """Write a module as TorchScript with its sidecar and return the module's own answers.

    Args:
        module: the trained source model; takes the inputs by name and returns one tensor.
        inputs: n rows of each input, on which file and module are compared; two at least.
        path: where the file goes; its folder is made.

    Returns:
        What the module answers to the inputs, one entry per row: what golden answers hold.

    Raises:
        DataError: the file answers otherwise than the module.
    """
    import torch  # noqa: PLC0415 - as above

    write_torchscript(module, {name: rows[:2] for name, rows in inputs.items()}, path)
    with torch.inference_mode():
        answers: NDArray[np.float32] = module(**inputs).numpy()
    arrays = {name: rows.numpy() for name, rows in inputs.items()}
    describe_export(path, runtime="torchscript", inputs=arrays, expected={"score": answers})
    return answers


def write_golden(path: Path, answers: Iterable[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    """Write `golden.jsonl`: request bodies and what the *source* model answers to them.

    Args:
        path: the file; its folder is made.
        answers: for each request its body and the part of the answer that is compared, for example
            `({"features": [{"text": "hello"}]}, {"prediction": ["greeting"]})`.
    """
    lines = [GoldenAnswer(request=body, expected=expected) for body, expected in answers]
    files.write_atomic(path, msgspec.json.Encoder().encode_lines(lines))


def describe_export(
    path: Path,
    *,
    runtime: RuntimeName,
    inputs: Arrays,
    expected: Arrays,
    parents: Sequence[Path] = (),
    metrics: Mapping[str, float] | None = None,
    allowed: float = MAX_ABS_DIFF,
) -> Artifact:
    """Run an exported file on its runtime, compare it, and write `<path>.json` next to it.

    It is run on all rows at once and on the first row alone, since an export often takes the
    number of rows of its example for a constant.

    Args:
        path: the exported file.
        runtime: what runs it.
        inputs: each input by name, n rows.
        expected: what the source model answers, by output name, n rows (the output of TorchScript
            is `score`); other outputs are not compared.
        parents: the files it was made from, such as the trained weights; their hashes are kept.
        metrics: what is known of the model's quality.
        allowed: the largest absolute difference that is accepted.

    Raises:
        DataError: an output is missing, has another shape, or is further away than `allowed`.
    """
    compared = compare_export(
        path, runtime=runtime, inputs=inputs, expected=expected, allowed=allowed
    )
    hashes = {parent.name: files.sha256_file(parent) for parent in parents}
    sidecar = compared.describe(hashes, metrics or {})
    files.write_json(files.sidecar_path(path), sidecar)
    return sidecar


@dataclass(frozen=True, kw_only=True)
class ComparedExport:
    """An exported file that answers as its source model does.

    `outputs` are the file's own answers to `inputs`, n rows each, and `max_abs_diff` is their
    largest absolute difference from `expected`, the source's.
    """

    path: Path
    runtime: RuntimeName
    inputs: Arrays
    expected: Arrays
    outputs: Arrays
    max_abs_diff: float

    def describe(self, parents: Mapping[str, str], metrics: Mapping[str, float]) -> Artifact:
        """Return the file's sidecar; `parents` maps what it was made from to its SHA-256."""
        return Artifact(
            file=self.path.name,
            runtime=self.runtime,
            sha256=files.sha256_file(self.path),
            size_bytes=self.path.stat().st_size,
            inputs=describe_arrays(self.inputs),
            outputs=describe_arrays(self.expected),
            parents=dict(parents),
            max_abs_diff=self.max_abs_diff,
            rows_compared=len(next(iter(self.expected.values()))),
            metrics=dict(metrics),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            command=shlex.join(["python", *sys.argv]),
        )


def compare_export(
    path: Path, *, runtime: RuntimeName, inputs: Arrays, expected: Arrays, allowed: float
) -> ComparedExport:
    """Run an exported file as `describe_export` does, and write nothing.

    Raises:
        DataError: an output is missing, has another shape, or is further away than `allowed`.
    """
    loaded = load_runtime(runtime, path, threads=1)
    outputs = loaded.run(inputs)
    alone = loaded.run({name: rows[:1] for name, rows in inputs.items()})
    distances = [
        _distance(path, name, found, rows)
        for name, wanted in expected.items()
        for found, rows in ((outputs, wanted), (alone, wanted[:1]))
    ]
    # Python's max would pass over a NaN.
    distance = float(np.max(distances))
    # Written so that a NaN is refused too.
    if not distance <= allowed:
        raise DataError(
            f"{path} differs from its source model by {distance:.3g}, more than {allowed:g}; "
            "check the export."
        )
    return ComparedExport(
        path=path,
        runtime=runtime,
        inputs=inputs,
        expected=expected,
        outputs=outputs,
        max_abs_diff=distance,
    )


def describe_arrays(arrays: Arrays) -> dict[str, str]:
    """Return dtype and shape of each array in a sidecar's words, such as `float32[n,19]`."""
    return {
        name: f"{array.dtype}[{','.join(['n', *map(str, array.shape[1:])])}]"
        for name, array in arrays.items()
    }


def _distance(path: Path, name: str, outputs: Arrays, wanted: NDArray[Any]) -> float:
    if name not in outputs:
        raise DataError(f"{path} has no output {name!r}; it has: {', '.join(outputs)}.")
    found = outputs[name]
    if found.shape != wanted.shape:
        raise DataError(
            f"{path} gives {name!r} of shape {found.shape}, its source {wanted.shape}; "
            "export it with a dynamic row axis."
        )
    return float(np.max(np.abs(found.astype(np.float64) - wanted.astype(np.float64))))


def _without_debug(content: bytes) -> bytes:
    """Rewrite a TorchScript file without what depends on this machine.

    That is the debug members, which hold paths, and the optional hash over them.
    """
    output = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as source,
        zipfile.ZipFile(output, "w", zipfile.ZIP_STORED) as target,
    ):
        for name in source.namelist():
            if not name.endswith((".debug_pkl", ".data/serialization_id")):
                target.writestr(zipfile.ZipInfo(name, _ZIP_TIME), source.read(name))
    return output.getvalue()
