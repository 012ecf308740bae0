"""An artifact gets its sidecar only when it answers as the model it came from."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from harness import factories
from marloft.archive.spec import read_artifact
from marloft.contract.manifest import GoldenAnswer
from marloft.errors import DataError
from marloft.files import parse_json, sidecar_path
from marloft.ranker.features import encode
from marloft.runtimes.export import (
    describe_arrays,
    describe_export,
    export_torchscript,
    write_golden,
)

ITEMS = [3, 1, 2]


@pytest.fixture
def inputs() -> dict[str, Any]:
    users = np.full(len(ITEMS), 7)
    rows: dict[str, Any] = dict(encode(factories.tables(), users, np.array(ITEMS)))
    return rows


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = factories.write_export(tmp_path)
    sidecar_path(folder / "model.onnx").unlink()
    return folder / "model.onnx"


def _scores() -> NDArray[np.float64]:
    return np.array(factories.score(7, ITEMS))


def test_sidecar_is_what_pack_reads(model: Path, inputs: dict[str, Any]) -> None:
    parents, expected = [model.with_name("tables.npz")], {"score": _scores()}
    describe_export(model, runtime="onnx", inputs=inputs, expected=expected, parents=parents)
    sidecar = read_artifact(model, "onnx")
    assert sidecar.inputs["genres"] == "float32[n,3]"
    assert sidecar.outputs == {"score": "float64[n]"}
    assert list(sidecar.parents) == ["tables.npz"]
    assert sidecar.rows_compared == 3
    assert sidecar.max_abs_diff < 1e-6


def test_sidecar_says_how_far_the_file_is_from_its_source(
    model: Path, inputs: dict[str, Any]
) -> None:
    expected = _scores().astype(np.float32) + np.float32(1e-5)
    describe_export(model, runtime="onnx", inputs=inputs, expected={"score": expected})
    sidecar = read_artifact(model, "onnx")
    assert sidecar.max_abs_diff == pytest.approx(1e-5, rel=0.1)
    assert sidecar.rows_compared == 3
    assert sidecar.outputs == {"score": "float32[n]"}
    assert sidecar.inputs["genres"] == "float32[n,3]"


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        ({"score": np.zeros(3, np.float32)}, "differs from its source model"),
        ({"score": _scores() + 1e-3}, r"differs from its source model by 0\.001"),
        ({"score": np.full(3, np.nan, np.float32)}, "differs from its source model by nan"),
        ({"score": np.zeros((3, 1), np.float32)}, r"shape \(3,\), its source \(3, 1\)"),
        ({"score": _scores()[:2]}, "dynamic row axis"),
        ({"scores": np.zeros(3, np.float32)}, "no output 'scores'; it has: score"),
    ],
)
def test_file_that_answers_otherwise_gets_no_sidecar(
    model: Path, inputs: dict[str, Any], expected: dict[str, Any], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        describe_export(model, runtime="onnx", inputs=inputs, expected=expected)
    assert not sidecar_path(model).exists()


@pytest.mark.slow
def test_torchscript_answers_as_its_module_and_holds_no_path(tmp_path: Path) -> None:
    import torch

    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Softmax(dim=1))
    rows = torch.rand(5, 4)
    path = tmp_path / "build" / "model.torchscript"
    answers = export_torchscript(module, {"input": rows}, path)
    with torch.inference_mode():
        assert answers == pytest.approx(module(rows).numpy())
    assert read_artifact(path, "torchscript").max_abs_diff < 1e-6
    for folder in (Path(torch.__file__).parent, Path(__file__).parent):
        assert str(folder).encode() not in path.read_bytes()


def test_golden_file_is_one_answer_a_line(tmp_path: Path) -> None:
    path = tmp_path / "build" / "golden.jsonl"
    write_golden(path, [({"features": [{"a": n}]}, {"prediction": n}) for n in range(2)])
    lines = [parse_json(line, GoldenAnswer, "") for line in path.read_bytes().splitlines()]
    assert [line.expected for line in lines] == [{"prediction": 0}, {"prediction": 1}]


def test_describe_arrays_names_dtype_and_shape() -> None:
    arrays: dict[str, Any] = {"user": np.zeros(2, np.int64), "genres": np.zeros((2, 3), np.float32)}
    assert describe_arrays(arrays) == {"user": "int64[n]", "genres": "float32[n,3]"}
