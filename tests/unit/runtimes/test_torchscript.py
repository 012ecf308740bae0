"""TorchScript modules of every form, by their own names and dtypes."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from marloft.errors import DataError
from marloft.runtimes.torchscript import TorchScriptRuntime, to_array
from tests.unit.runtimes import modules

ITEMS = modules.ITEMS.numpy()


def load(module: nn.Module, path: Path) -> TorchScriptRuntime:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(module), str(path))
    return TorchScriptRuntime(path, threads=1)


@pytest.mark.parametrize(
    ("module", "dtypes"),
    [
        (modules.One(), {"score": "float32"}),
        (modules.Named(), {"score": "float32", "liked": "bool"}),
        (modules.Pair(), {"output_0": "float32", "output_1": "int64"}),
        (modules.Listed(), {"output_0": "float32", "output_1": "float32"}),
        (modules.Keyed(), {"score": "float32", "best": "int64"}),
        (modules.Nested(), {"head.score": "float32", "head.liked": "bool", "tokens": "int64"}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_outputs_have_the_modules_names_and_dtypes(
    module: nn.Module, dtypes: dict[str, str], tmp_path: Path
) -> None:
    outputs = load(module, tmp_path / "model").run({"items": ITEMS})
    assert {name: str(output.dtype) for name, output in outputs.items()} == dtypes
    assert next(iter(outputs.values())).tolist() == ITEMS.sum(axis=1).tolist()


def test_several_inputs_may_have_other_shapes_and_outputs_no_rows(tmp_path: Path) -> None:
    runtime = load(modules.TwoInputs(), tmp_path / "model")
    outputs = runtime.run({"items": ITEMS, "user": modules.USER.numpy()})
    assert {name: output.shape for name, output in outputs.items()} == {
        "score": (5,), "vector": (5, 4), "liked": (5,), "mean": (),
    }  # fmt: skip
    assert outputs["mean"] == pytest.approx(outputs["score"].mean())


def test_inputs_with_a_default_may_be_left_out_and_numbers_are_scalars(tmp_path: Path) -> None:
    runtime = load(modules.Optional(), tmp_path / "model")
    total = ITEMS.sum(axis=1)
    assert runtime.run({"items": ITEMS})["score"].tolist() == (total + 1).tolist()
    numbers: dict[str, Any] = {"scale": np.float32(2), "shift": np.array(3)}
    scaled = runtime.run({"items": ITEMS, **numbers})
    assert scaled["score"].tolist() == (2 * total + 3).tolist()


def test_read_only_arrays_are_taken(tmp_path: Path) -> None:
    frozen = np.frombuffer(ITEMS.tobytes(), np.float32).reshape(5, 3)
    assert not frozen.flags.writeable
    assert len(load(modules.One(), tmp_path / "model").run({"items": frozen})["score"]) == 5


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"item": ITEMS}, "model has no input 'item'. Did you mean 'items'?"),
        ({}, "model was not given 'items'"),
        ({"items": ITEMS, "shfit": ITEMS}, "no input 'shfit'. Did you mean 'shift'?"),
        ({"items": np.array([["a"]])}, "items is <U1; model takes it as Tensor"),
        ({"items": np.array([[None]])}, "items is object; model takes it as Tensor"),
        ({"items": ITEMS, "shift": np.array("2")}, "shift is <U1; model takes it as float"),
    ],
)
def test_wrong_inputs_are_answered_with_the_modules_own(
    inputs: dict[str, Any], words: str, tmp_path: Path
) -> None:
    runtime = load(modules.Optional(), tmp_path / "model")
    with pytest.raises(DataError) as caught:
        runtime.run(inputs)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (modules.TakesWords(), r"takes words as List\[str\]; an input has to be one of Tensor"),
        (modules.Without(), "has no method `forward`"),
    ],
)
def test_module_that_no_array_fits_is_refused_when_it_is_loaded(
    module: nn.Module, words: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=words):
        load(module, tmp_path / "model")


@pytest.mark.parametrize("dtype", [torch.float16, torch.int8, torch.bool, torch.complex64])
def test_tensor_becomes_an_array_of_its_dtype(dtype: torch.dtype) -> None:
    assert f"torch.{to_array(torch.ones(2, dtype=dtype)).dtype}" == str(dtype)


def test_bfloat16_becomes_float32_without_a_change() -> None:
    array = to_array(torch.tensor([1.5, -2.0], dtype=torch.bfloat16, requires_grad=True))
    assert array.dtype == np.float32
    assert array.tolist() == [1.5, -2.0]
