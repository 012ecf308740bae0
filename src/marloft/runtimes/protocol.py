"""What every runtime offers: named NumPy arrays in, named NumPy arrays out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from marloft.contract.manifest import Runtime as RuntimeName

Arrays = Mapping[str, NDArray[Any]]


class Runtime(Protocol):
    """A loaded model. Every array's first axis is the row axis, and rows are independent."""

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Return the model's outputs, each with as many rows as the inputs."""
        ...


def load_runtime(kind: RuntimeName, path: Path, threads: int) -> Runtime:
    """Load `path` with the named runtime on `threads` CPU threads (TensorRT: on the GPU).

    The library of the other runtimes is not imported: a worker that serves ONNX needs no torch.
    """
    if kind == "onnx":
        from marloft.runtimes.onnx import OnnxRuntime  # noqa: PLC0415

        return OnnxRuntime(path, threads)
    if kind == "tensorrt":
        from marloft.runtimes.tensorrt import TensorRtRuntime  # noqa: PLC0415

        return TensorRtRuntime(path)
    from marloft.runtimes.torchscript import TorchScriptRuntime  # noqa: PLC0415

    return TorchScriptRuntime(path, threads)
