"""Both runtimes against NumPy on a graph made by hand."""

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from marloft.contract.manifest import Runtime as RuntimeName
from marloft.runtimes import load_runtime


class Weighted(nn.Module):
    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return left * 2 + right


@pytest.fixture(params=["onnx", "torchscript"])
def runtime(request: pytest.FixtureRequest) -> RuntimeName:
    name: RuntimeName = request.param
    return name


@pytest.fixture
def model(runtime: RuntimeName, tmp_path: Path) -> Path:
    """`score = 2 * left + right` over float32[n]."""
    path = tmp_path / "model"
    if runtime == "onnx":
        onnx.save(onnx_graph(), path)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            torch.jit.save(torch.jit.script(Weighted()), str(path))
    return path


def onnx_graph() -> onnx.ModelProto:
    left, right, score = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"])
        for name in ("left", "right", "score")
    )
    two = helper.make_tensor("two", TensorProto.FLOAT, [], [2.0])
    nodes = [
        helper.make_node("Mul", ["left", "two"], ["double"]),
        helper.make_node("Add", ["double", "right"], ["score"]),
    ]
    graph = helper.make_graph(nodes, "weighted", [left, right], [score], [two])
    opset = helper.make_opsetid("", 18)
    return helper.make_model(graph, opset_imports=[opset], ir_version=10)


@pytest.mark.parametrize("rows", [1, 7])
def test_run_takes_arrays_by_name_and_any_number_of_rows(
    runtime: RuntimeName, model: Path, rows: int
) -> None:
    left, right = np.arange(2 * rows, dtype=np.float32).reshape(2, rows)
    output = load_runtime(runtime, model, threads=1).run({"right": right, "left": left})
    assert list(output) == ["score"]
    assert output["score"].dtype == np.float32
    assert output["score"].tolist() == (2 * left + right).tolist()


def test_run_takes_arrays_that_are_not_contiguous(runtime: RuntimeName, model: Path) -> None:
    left, right = np.arange(12, dtype=np.float32).reshape(6, 2).T
    output = load_runtime(runtime, model, threads=1).run({"left": left, "right": right})
    assert output["score"].tolist() == (2 * left + right).tolist()


def test_loading_onnx_loads_no_torch(tmp_path: Path) -> None:
    onnx.save(onnx_graph(), tmp_path / "model")
    probe = (
        "import sys, pathlib; from marloft.runtimes import load_runtime; "
        "load_runtime('onnx', pathlib.Path(sys.argv[1]), threads=1); print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", probe, str(tmp_path / "model")]
    assert subprocess.check_output(command, text=True).strip() == "False"
