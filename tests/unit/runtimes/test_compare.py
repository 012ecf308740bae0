"""A file is compared with its source output by output, on all rows and on the first row alone."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from marloft.errors import DataError
from marloft.runtimes.compare import ComparedExport, compare_export, describe_arrays, first_row

ROWS = np.array([[1.0, 2.0], [3.0, -4.0], [0.5, 0.5]], np.float32)
ONE = np.array([[10.0, 20.0]], np.float32)
INPUTS = {"rows": ROWS, "one": ONE}
ANSWERS: dict[str, Any] = {
    "sum": (ROWS + ONE).sum(axis=1),
    "best": ROWS.argmax(axis=1),
    "high": ROWS[:, 0] > 1,
    "total": np.float32(ROWS.sum()),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Answers `sum` float32[n], `best` int64[n], `high` bool[n], `total` float32[]."""
    inputs = [
        helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", 2]),
        helper.make_tensor_value_info("one", TensorProto.FLOAT, [1, 2]),
    ]
    kinds = (TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL, TensorProto.FLOAT)
    outputs = [
        helper.make_tensor_value_info(name, kind, [] if name == "total" else ["n"])
        for name, kind in zip(ANSWERS, kinds, strict=True)
    ]
    constants = [
        helper.make_tensor("axis", TensorProto.INT64, [1], [1]),
        helper.make_tensor("zero", TensorProto.INT64, [], [0]),
        helper.make_tensor("limit", TensorProto.FLOAT, [], [1.0]),
    ]
    nodes = [
        helper.make_node("Add", ["rows", "one"], ["shifted"]),
        helper.make_node("ReduceSum", ["shifted", "axis"], ["sum"], keepdims=0),
        helper.make_node("ArgMax", ["rows"], ["best"], axis=1, keepdims=0),
        helper.make_node("Gather", ["rows", "zero"], ["column"], axis=1),
        helper.make_node("Greater", ["column", "limit"], ["high"]),
        helper.make_node("ReduceSum", ["rows"], ["total"], keepdims=0),
    ]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, constants)
    file = tmp_path_factory.mktemp("compare") / "model.onnx"
    opset = helper.make_opsetid("", 18)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=10), file)
    return file


def compare(path: Path, expected: dict[str, Any], **more: Any) -> ComparedExport:
    per_request = ["one", *({"total"} & expected.keys())]
    return compare_export(
        path, **{"runtime": "onnx", "inputs": INPUTS, "expected": expected,
                 "per_request": per_request, **more}
    )  # fmt: skip


def test_every_output_is_compared_and_described(path: Path) -> None:
    sidecar = compare(path, ANSWERS).describe({}, {})
    assert sidecar.inputs == {"rows": "float32[n,2]", "one": "float32[1,2]"}
    assert sidecar.outputs == {
        "sum": "float32[n]", "best": "int64[n]", "high": "bool[n]", "total": "float32[]",
    }  # fmt: skip
    assert sidecar.rows_compared == 3
    assert sidecar.max_abs_diff < 1e-6


@pytest.mark.parametrize(
    ("name", "answer", "words"),
    [
        ("sum", ANSWERS["sum"] + np.float32(0.01), "from its source model by 0.01"),
        ("best", [1, 1, 0], "in 'best': 1 of 3 entries, the first 0 instead of 1; int64 has"),
        ("high", [False, False, True], "in 'high': 2 of 3 entries, the first True instead"),
        ("total", ANSWERS["total"] + np.float32(1), "from its source model by 1"),
        ("best", ANSWERS["best"].astype(np.float32), "as int64, its source as float32"),
        ("sum", ["a", "b", "c"], "gives 'sum' as float32, its source as <U1"),
        ("total", np.zeros(1, np.float32), r"shape \(\), its source \(1,\)"),
        ("none", ANSWERS["sum"], "no output 'none'; it has: sum, best, high, total"),
    ],
)
def test_one_output_that_differs_is_found(path: Path, name: str, answer: Any, words: str) -> None:
    expected = {**ANSWERS, name: np.asarray(answer)}
    with pytest.raises(DataError, match=words):
        compare(path, expected)


def test_integers_of_any_width_and_bool_are_compared_by_value(path: Path) -> None:
    expected = {"best": ANSWERS["best"].astype(np.uint8), "high": ANSWERS["high"].astype(np.int64)}
    assert compare(path, expected).max_abs_diff == 0


def test_infinities_that_agree_are_no_difference(path: Path) -> None:
    inputs = {"rows": np.array([[np.inf, 0.0], [1.0, 1.0]], np.float32), "one": ONE}
    expected = {"sum": np.array([np.inf, 32.0], np.float32)}
    assert compare(path, expected, inputs=inputs).max_abs_diff == 0
    with pytest.raises(DataError, match="by inf"):
        compare(path, {"sum": np.array([0.0, 32.0], np.float32)}, inputs=inputs)


def test_output_that_is_further_away_is_named_with_its_size(path: Path) -> None:
    expected = {**ANSWERS, "sum": ANSWERS["sum"] + np.float32(0.5)}
    words = (
        rf"by 0\.5, more than 0\.0001, in 'sum', whose largest number is {expected['sum'].max():g};"
    )
    with pytest.raises(DataError, match=words):
        compare(path, expected)
    assert compare(path, expected, allowed=0.5).max_abs_diff == 0.5


def test_first_row_alone_is_compared_with_its_own_answer(path: Path) -> None:
    alone = {"total": np.float32(3.0), "sum": ANSWERS["sum"][:1]}
    assert compare(path, ANSWERS, alone=alone).max_abs_diff < 1e-6
    with pytest.raises(DataError, match="differs from its source model by 2"):
        compare(path, ANSWERS, alone={"total": np.float32(5.0)})


@pytest.mark.parametrize(
    ("per_request", "words"),
    [
        (["one", "totl"], "names 'totl', which is no input or output. Did you mean 'total'?"),
        (["one"], r"total is a single number, .*per_request=\('total',\)"),
    ],
)
def test_names_without_a_row_axis_have_to_be_said(
    path: Path, per_request: list[str], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        compare(path, ANSWERS, per_request=per_request)


def test_file_that_cannot_be_run_on_the_inputs_is_refused(path: Path) -> None:
    inputs = {"rows": ROWS.astype(np.float64), "one": ONE}
    with pytest.raises(DataError, match="cannot be run on all rows at once: rows is float64"):
        compare(path, ANSWERS, inputs=inputs)


def test_nothing_to_compare_is_refused(path: Path) -> None:
    with pytest.raises(DataError, match="`expected` holds no output to compare"):
        compare(path, {}, per_request=["one"])


def test_first_row_keeps_what_has_no_rows_whole() -> None:
    cut = first_row(INPUTS, ["one"])
    assert {name: array.shape for name, array in cut.items()} == {"rows": (1, 2), "one": (1, 2)}
    assert cut["one"] is ONE


def test_describe_arrays_names_dtype_and_shape() -> None:
    arrays: dict[str, Any] = {
        "user": np.zeros(2, np.int64),
        "genres": np.zeros((2, 3), np.float32),
        "half": np.zeros((1, 4), np.float16),
        "k": np.int64(3),
        "words": np.array(["a", "b"]),
        "labels": np.array(["a", "b"], object),
    }
    assert describe_arrays(arrays, per_request=("half", "k")) == {
        "user": "int64[n]", "genres": "float32[n,3]", "half": "float16[1,4]", "k": "int64[]",
        "words": "string[n]", "labels": "string[n]",
    }  # fmt: skip
