"""Runtimes: one interface over ONNX Runtime, TorchScript and TensorRT."""

from marloft.runtimes.protocol import Arrays, Runtime, load_runtime

__all__ = ["Arrays", "Runtime", "load_runtime"]
