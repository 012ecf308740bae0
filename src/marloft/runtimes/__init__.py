"""Runtimes: one interface over ONNX Runtime, TorchScript and TensorRT."""

from marloft.runtimes.load import load_runtime
from marloft.runtimes.protocol import Arrays, Runtime

__all__ = ["Arrays", "Runtime", "load_runtime"]
