"""ONNX graphs with several inputs and outputs; mistakes are answered in the graph's own words."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from marloft.errors import DataError
from marloft.runtimes.onnx import OnnxRuntime

FLOAT, INT, TEXT = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
ITEMS = np.arange(6, dtype=np.float32).reshape(2, 3)
GIVEN: dict[str, Any] = {
    "items": ITEMS,
    "user": np.array([[1.0, 2.0, 3.0]], np.float32),
    "ids": np.arange(2),
}


def save(
    path: Path,
    inputs: dict[str, tuple[int, Any]],
    nodes: list[onnx.NodeProto],
    outputs: dict[str, tuple[int, Any]],
) -> Path:
    given, answered = (
        [helper.make_tensor_value_info(name, *each) for name, each in group.items()]
        for group in (inputs, outputs)
    )
    graph = helper.make_graph(nodes, "graph", given, answered)
    opset = helper.make_opsetid("", 18)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), path)
    return path


@pytest.fixture
def model(tmp_path: Path) -> OnnxRuntime:
    """`score = items * user`, `same = ids` and `all = sum(items)`, with one user for all rows."""
    path = save(
        tmp_path / "model.onnx",
        {"items": (FLOAT, ["n", 3]), "user": (FLOAT, [1, 3]), "ids": (INT, ["n"])},
        [
            helper.make_node("Mul", ["items", "user"], ["score"]),
            helper.make_node("Identity", ["ids"], ["same"]),
            helper.make_node("ReduceSum", ["items"], ["all"], keepdims=0),
        ],
        {"score": (FLOAT, ["n", 3]), "same": (INT, ["n"]), "all": (FLOAT, [])},
    )
    return OnnxRuntime(path, threads=1)


def test_outputs_have_the_graphs_names_and_dtypes(model: OnnxRuntime) -> None:
    outputs = model.run(GIVEN)
    assert list(outputs) == ["score", "same", "all"]
    assert outputs["score"].tolist() == (ITEMS * [1, 2, 3]).tolist()
    assert (str(outputs["same"].dtype), outputs["same"].tolist()) == ("int64", [0, 1])
    assert (outputs["all"].shape, float(outputs["all"])) == ((), 15.0)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (
            "items",
            ITEMS.astype(np.float64),
            "items is float64[2,3]; model.onnx takes it as",
        ),
        ("items", ITEMS[:, :2], "items is float32[2,2]; model.onnx takes it as float32[n,3]"),
        ("items", ITEMS[0], "items is float32[3]; model.onnx takes it as float32[n,3]"),
        ("user", np.zeros((2, 3), np.float32), "model.onnx takes it as float32[1,3]"),
        ("user", np.float32(1), "user is float32[]; model.onnx takes it as float32[1,3]"),
        ("ids", np.arange(2, dtype=np.int32), "as with `.astype(np.int64)`"),
    ],
)
def test_wrong_array_is_answered_with_the_graphs_dtype_and_shape(
    model: OnnxRuntime, name: str, value: Any, words: str
) -> None:
    with pytest.raises(DataError, match=re.escape(words)):
        model.run({**GIVEN, name: value})


def test_wrong_names_are_answered_with_the_graphs_own(model: OnnxRuntime) -> None:
    takes = "It takes: items (float32[n,3]), user (float32[1,3]), ids (int64[n])"
    with pytest.raises(DataError, match=re.escape(f"'itmes'. Did you mean 'items'? {takes}.")):
        model.run({"itmes": ITEMS, "user": GIVEN["user"], "ids": GIVEN["ids"]})
    with pytest.raises(DataError, match=re.escape(f"was not given 'ids'. {takes}; it got: items")):
        model.run({"items": ITEMS, "user": GIVEN["user"]})


def test_list_is_left_to_onnx_runtime(model: OnnxRuntime) -> None:
    ids: Any = [4, 5]
    outputs = model.run({**GIVEN, "ids": ids})
    assert outputs["same"].tolist() == [4, 5]


@pytest.mark.parametrize("texts", [np.array(["a", "bc"]), np.array(["a", "bc"], object)])
def test_texts_are_arrays_of_text_or_objects(tmp_path: Path, texts: Any) -> None:
    node = helper.make_node("Identity", ["text"], ["same"])
    path = save(tmp_path / "text.onnx", {"text": (TEXT, ["n"])}, [node], {"same": (TEXT, ["n"])})
    runtime = OnnxRuntime(path, threads=1)
    assert runtime.run({"text": texts})["same"].tolist() == ["a", "bc"]
    with pytest.raises(DataError, match=re.escape("text is int64[1]; text.onnx takes it as")):
        runtime.run({"text": np.array([1])})


def test_axes_that_the_graph_leaves_open_are_not_checked(tmp_path: Path) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    path = save(tmp_path / "open.onnx", {"x": (FLOAT, [None, 3])}, [node], {"y": (FLOAT, None)})
    runtime = OnnxRuntime(path, threads=1)
    assert runtime.run({"x": ITEMS})["y"].shape == (2, 3)
    with pytest.raises(DataError, match=re.escape("takes it as float32[?,3]")):
        runtime.run({"x": ITEMS[0]})


def test_zipmap_is_refused_with_the_line_that_leaves_it_out(tmp_path: Path) -> None:
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    rows = np.random.default_rng(0).random((30, 3), np.float32)
    model = LogisticRegression().fit(rows, rows[:, 0] > 0.5)
    path = tmp_path / "model.onnx"
    path.write_bytes(to_onnx(model, rows[:1], target_opset=17).SerializeToString())
    with pytest.raises(DataError) as caught:
        OnnxRuntime(path, threads=1)
    assert "output_probability of type seq(map(" in str(caught.value)
    assert 'write `to_onnx(..., options={"zipmap": False})`' in str(caught.value)
    cured = to_onnx(model, rows[:1], target_opset=17, options={"zipmap": False})
    path.write_bytes(cured.SerializeToString())
    outputs = OnnxRuntime(path, threads=1).run({"X": rows})
    assert outputs["probabilities"] == pytest.approx(model.predict_proba(rows), abs=1e-5)


def test_type_that_numpy_lacks_is_refused_when_it_is_loaded(tmp_path: Path) -> None:
    half = TensorProto.BFLOAT16
    node = helper.make_node("Identity", ["x"], ["y"])
    path = save(tmp_path / "half.onnx", {"x": (half, ["n"])}, [node], {"y": (half, ["n"])})
    with pytest.raises(DataError, match=r"half\.onnx has x of type tensor\(bfloat16\)"):
        OnnxRuntime(path, threads=1)
