"""Tests in this folder need an NVIDIA GPU; elsewhere they are skipped and counted."""

import importlib.util

import pytest
import torch


@pytest.fixture
def gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU and a CUDA build of torch")


@pytest.fixture
def tensorrt(gpu: None) -> None:
    if importlib.util.find_spec("tensorrt") is None:
        pytest.skip("needs TensorRT: pip install 'marloft[gpu]'")
