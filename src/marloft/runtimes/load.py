"""Loads an artifact with the runtime that its archive names."""

from pathlib import Path

from marloft.contract.manifest import Runtime as RuntimeName
from marloft.runtimes.protocol import Runtime


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
