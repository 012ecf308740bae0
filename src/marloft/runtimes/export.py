"""From a trained model to an artifact that `marloft pack` takes: the file and its sidecar.

The sidecar says how far the exported file is from its source model, so that nothing is packed
that was never compared. `export_torchscript` does all of it; beside a file that another exporter
wrote (torch.onnx, skl2onnx), `record_export` does the rest.
"""

import io
import shlex
import sys
import warnings
import zipfile
from collections.abc import Iterable, Mapping
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
    record_export(path, "torchscript", arrays, {"score": answers})
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


def record_export(
    path: Path,
    runtime: RuntimeName,
    inputs: Arrays,
    expected: Arrays,
    allowed: float = 1e-4,
) -> Artifact:
    """Compare an exported file with its source model and write its sidecar `<path>.json`.

    Args:
        path: the exported file.
        runtime: what runs it.
        inputs: n rows of each input.
        expected: what the *source* model answers to them, by the names of the file's outputs
            (`score` for TorchScript), each with n rows; other outputs are not compared.
        allowed: the largest absolute difference that is accepted.

    Raises:
        DataError: an output is missing, has another shape, or is further than that away.
    """
    loaded = load_runtime(runtime, path, threads=1)
    together = loaded.run(inputs)
    alone = loaded.run({name: rows[:1] for name, rows in inputs.items()})
    distances = [
        _distance(path.name, name, outputs, rows)
        for name, wanted in expected.items()
        for outputs, rows in ((together, wanted), (alone, wanted[:1]))
    ]
    # Python's max would pass over a NaN.
    distance = float(np.max(distances))
    # Written so that a NaN is refused too.
    if not distance <= allowed:
        raise DataError(
            f"{path.name} differs from its source model by {distance:.3g} (at most {allowed:g} is "
            "allowed); no sidecar was written, check the export of this model."
        )
    sidecar = Artifact(
        file=path.name,
        runtime=runtime,
        sha256=files.sha256_file(path),
        size_bytes=path.stat().st_size,
        inputs=describe_arrays(inputs),
        outputs=describe_arrays(expected),
        parents={},
        max_abs_diff=distance,
        rows_compared=len(next(iter(inputs.values()))),
        metrics={},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=shlex.join(["python", *sys.argv]),
    )
    files.write_json(files.sidecar_path(path), sidecar)
    return sidecar


def describe_arrays(arrays: Arrays) -> dict[str, str]:
    """Return dtype and shape of each array in a sidecar's words, such as `float32[n,19]`."""
    return {
        name: f"{array.dtype}[{','.join(['n', *map(str, array.shape[1:])])}]"
        for name, array in arrays.items()
    }


def _distance(file: str, name: str, outputs: Arrays, wanted: NDArray[Any]) -> float:
    if name not in outputs:
        raise DataError(f"{file} has no output {name!r}; it has: {', '.join(outputs)}.")
    found = outputs[name]
    if found.shape != wanted.shape:
        raise DataError(f"{file}: {name} has shape {found.shape}, the source's {wanted.shape}.")
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
