"""An artifact gets its sidecar only when it answers as the model it came from."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from harness import factories
from marloft.archive.spec import read_artifact
from marloft.contract.manifest import GoldenAnswer
from marloft.contract.manifest import Runtime as RuntimeName
from marloft.errors import DataError
from marloft.files import parse_json, sidecar_path
from marloft.ranker.features import encode
from marloft.runtimes.export import (
    describe_export,
    export_onnx,
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
    assert sidecar.outputs == {"score": "float32[n]"}
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
    answers = export_torchscript(module, {"input": rows}, path)["score"]
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


def export(runtime: RuntimeName, module: Any, inputs: Any, path: Path, **more: Any) -> Any:
    write = export_onnx if runtime == "onnx" else export_torchscript
    return write(module, inputs, path, **more)


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnx", "torchscript"])
def test_module_with_an_input_per_request_is_exported_compared_and_described(
    runtime: RuntimeName, tmp_path: Path
) -> None:
    from tests.unit.runtimes import modules

    path, weights = tmp_path / "build" / "model", tmp_path / "weights.pt"
    weights.write_bytes(b"weights")
    answers = export(
        runtime, modules.TwoInputs(), {"user": modules.USER, "items": modules.ITEMS}, path,
        per_request=("user", "mean"), parents=[weights], metrics={"auc": 0.75},
    )  # fmt: skip
    assert {name: answer.shape for name, answer in answers.items()} == {
        "score": (5,), "vector": (5, 4), "liked": (5,), "mean": (),
    }  # fmt: skip
    sidecar = read_artifact(path, runtime)
    assert sidecar.inputs == {"user": "float32[1,2]", "items": "float32[n,3]"}
    assert sidecar.outputs == {
        "score": "float32[n]", "vector": "float32[n,4]", "liked": "bool[n]", "mean": "float32[]",
    }  # fmt: skip
    assert (sidecar.rows_compared, list(sidecar.parents)) == (5, ["weights.pt"])
    assert sidecar.metrics == {"auc": 0.75}
    assert sidecar.max_abs_diff < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnx", "torchscript"])
def test_rows_of_one_request_may_see_each_other(runtime: RuntimeName, tmp_path: Path) -> None:
    from tests.unit.runtimes import modules

    answers = export(runtime, modules.MixesRows(), {"items": modules.ITEMS}, tmp_path / "model")
    assert answers["score"].sum() == pytest.approx(1)
    assert read_artifact(tmp_path / "model", runtime).max_abs_diff < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["onnx", "torchscript"])
def test_answers_have_the_names_that_the_export_gave(runtime: RuntimeName, tmp_path: Path) -> None:
    from tests.unit.runtimes import modules

    inputs = {"items": modules.ITEMS}
    more: dict[str, Any] = {"outputs": ("total", "best")} if runtime == "onnx" else {}
    answers = export(runtime, modules.Pair(), inputs, tmp_path / "model", **more)
    assert list(answers) == ["total", "best"] if more else ["output_0", "output_1"]
    assert answers["best" if more else "output_1"].dtype == np.int64


@pytest.mark.slow
def test_row_count_in_a_second_output_is_noticed(tmp_path: Path) -> None:
    from tests.unit.runtimes import modules

    with (
        pytest.warns(match="len"),
        pytest.raises(DataError, match="differs from its source model by"),
    ):
        export_torchscript(
            modules.TakesRowsForConstant(), {"items": modules.ITEMS}, tmp_path / "model"
        )
    assert not sidecar_path(tmp_path / "model").exists()


@pytest.mark.slow
def test_graph_of_the_examples_rows_alone_is_refused_with_the_cause(tmp_path: Path) -> None:
    import torch

    from marloft.runtimes import tracing
    from tests.unit.runtimes import modules

    inputs = {"items": modules.ITEMS[:2]}
    rows, path = torch.rand(3, 3).numpy(), tmp_path / "model.onnx"
    tracing.write_onnx(modules.Reshapes(), inputs, path)
    words = r"cannot be run on all rows at once: .*dynamic row axis"
    with pytest.raises(DataError, match=words):
        describe_export(
            path, runtime="onnx", inputs={"items": rows}, expected={"score": rows[:, 0]}
        )
