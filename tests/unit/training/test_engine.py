"""What of building an engine can be held without TensorRT: shapes, settings and messages."""

import re

import numpy as np
import pytest

from marloft.errors import ConfigError
from marloft.runtimes.compare import describe_arrays
from marloft.runtimes.tensorrt import Host
from marloft.training.engine import (
    EngineSettings,
    facts,
    parse_failure,
    profile_shapes,
)


def test_every_input_gets_its_least_usual_and_largest_shape() -> None:
    inputs = describe_arrays({"user": np.zeros(2, np.int64), "genres": np.zeros((2, 19))})
    settings = EngineSettings(precision="fp32", min_rows=1, opt_rows=50, max_rows=800)
    assert profile_shapes(inputs, settings) == {
        "user": ((1,), (50,), (800,)),
        "genres": ((1, 19), (50, 19), (800, 19)),
    }


@pytest.mark.parametrize("word", ["float32[19,n]", "float32[n,m]", "float32[]", "float32"])
def test_an_input_whose_rows_do_not_come_first_is_refused(word: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"input x is {word!r}")):
        profile_shapes({"x": word}, EngineSettings(precision="fp32"))


@pytest.mark.parametrize("rows", [(0, 5, 9), (6, 5, 9), (1, 10, 9)])
def test_rows_out_of_order_are_refused(rows: tuple[int, int, int]) -> None:
    least, usual, most = rows
    said = f"least {least}, usual {usual}, most {most}; they must be at least 1 and in this order"
    with pytest.raises(ConfigError, match=re.escape(said)):
        EngineSettings(precision="fp32", min_rows=least, opt_rows=usual, max_rows=most)


def test_facts_say_what_the_engine_is_bound_to() -> None:
    host = Host(tensorrt="10.9.0.34", gpu="NVIDIA L4", compute_capability="8.9")
    found = facts(host, EngineSettings(precision="fp16", max_rows=800))
    assert (found.tensorrt, found.gpu, found.compute_capability) == (
        "10.9.0.34",
        "NVIDIA L4",
        "8.9",
    )
    assert (found.precision, found.min_rows, found.opt_rows, found.max_rows) == ("fp16", 1, 50, 800)


def test_a_graph_that_cannot_be_read_is_explained_in_one_line() -> None:
    said = parse_failure("model.onnx", "10.9.0", ["no importer\nfor Foo", "node 7"])
    assert said == (
        "TensorRT 10.9.0 cannot read model.onnx: no importer for Foo; node 7; "
        "serve the ONNX export."
    )
    assert "it gives no reason" in parse_failure("model.onnx", "10.9.0", [])
