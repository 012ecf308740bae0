"""Modules of every form as TorchScript and ONNX files, named alike."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from marloft.contract.manifest import Runtime as RuntimeName
from marloft.errors import ConfigError, DataError
from marloft.runtimes import load_runtime, tracing
from tests.unit.runtimes import modules
from tests.unit.runtimes.modules import ITEMS, USER

pytestmark = pytest.mark.slow
FORMS = (
    modules.One, modules.Named, modules.Pair, modules.Listed, modules.Keyed, modules.Nested,
)  # fmt: skip


def write(runtime: RuntimeName, module: nn.Module, inputs: tracing.Tensors, path: Path) -> Any:
    example = tracing.example_of(inputs, ("user",))
    if runtime == "onnx":
        tracing.write_onnx(module, example, path, per_request=("user",) if "user" in inputs else ())
    else:
        tracing.write_torchscript(module, example, path)
    return load_runtime(runtime, path, threads=1)


@pytest.mark.parametrize("runtime", ["onnx", "torchscript"])
@pytest.mark.parametrize("form", FORMS)
def test_file_answers_by_the_names_of_the_module(
    runtime: RuntimeName, form: type[nn.Module], tmp_path: Path
) -> None:
    module = form()
    loaded = write(runtime, module, {"items": ITEMS}, tmp_path / "model")
    for rows in (ITEMS, ITEMS[:1]):
        expected = tracing.answers_of(module, {"items": rows})
        found = loaded.run({"items": rows.numpy()})
        assert {n: str(a.dtype) for n, a in found.items()} == {
            n: str(a.dtype) for n, a in expected.items()
        }
        assert {n: a.tolist() for n, a in found.items()} == {
            n: a.tolist() for n, a in expected.items()
        }


@pytest.mark.parametrize("order", [("user", "items"), ("items", "user")])
@pytest.mark.parametrize("runtime", ["onnx", "torchscript"])
def test_inputs_keep_their_names_in_any_order(
    runtime: RuntimeName, order: tuple[str, ...], tmp_path: Path
) -> None:
    module = modules.TwoInputs()
    inputs = {name: {"user": USER, "items": ITEMS}[name] for name in order}
    found = write(runtime, module, inputs, tmp_path / "model").run(
        {name: tensor.numpy() for name, tensor in inputs.items()}
    )
    for name, expected in tracing.answers_of(module, inputs).items():
        assert np.allclose(found[name], expected, atol=1e-6), name


def test_onnx_outputs_may_have_other_names(tmp_path: Path) -> None:
    tracing.write_onnx(modules.Pair(), {"items": ITEMS}, tmp_path / "m", ("total", "best"))
    found = load_runtime("onnx", tmp_path / "m", 1).run({"items": ITEMS.numpy()})
    assert list(found) == ["total", "best"]
    with pytest.raises(DataError, match=r"`outputs` names 1 \(total\), and the module answers 2"):
        tracing.write_onnx(modules.Pair(), {"items": ITEMS}, tmp_path / "m", ("total",))


def test_scripted_module_keeps_its_branches_and_names(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted: Any = torch.jit.script(modules.Branching())
    tracing.write_torchscript(scripted, {"items": ITEMS}, tmp_path / "model")
    loaded = load_runtime("torchscript", tmp_path / "model", threads=1)
    for sign, rows in ((1, ITEMS), (-1, ITEMS + 10)):
        found = loaded.run({"items": rows.numpy()})
        assert list(found) == ["score", "liked"]
        assert found["score"].tolist() == (sign * rows.sum(dim=1)).tolist()


def test_module_that_onnx_cannot_follow_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot export the module: .*data-dependent") as caught:
        tracing.write_onnx(modules.Branching(), {"items": ITEMS}, tmp_path / "model")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("write_one", [tracing.write_onnx, tracing.write_torchscript])
def test_files_hold_no_path(write_one: Any, tmp_path: Path) -> None:
    write_one(modules.Keyed(), {"items": ITEMS}, tmp_path / "model")
    for folder in (Path(torch.__file__).parent, Path(__file__).parent):
        assert str(folder).encode() not in (tmp_path / "model").read_bytes()


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"itms": ITEMS, "user": USER}, "TwoInputs.forward has no input 'itms'. Did you mean 'it"),
        ({"items": ITEMS}, "TwoInputs.forward was not given 'user'. It takes: user, items"),
        ({"items": ITEMS[:1], "user": USER}, r"items has shape \(1, 3\); give two rows at least"),
        ({"items": torch.tensor(1.0), "user": USER}, "name it in `per_request`"),
    ],
)
def test_inputs_that_do_not_fit_the_module_are_refused(inputs: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        tracing.check_module_inputs(modules.TwoInputs(), inputs, ("user",))


def test_inputs_that_fit_are_fine() -> None:
    tracing.check_module_inputs(modules.TwoInputs(), {"items": ITEMS, "user": USER}, ("user",))
    tracing.check_module_inputs(modules.Optional(), {"items": ITEMS}, ())


def test_missing_exporter_is_answered_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "_NEEDS", ("onnx", "onnxscript_that_is_not_there"))
    words = r"needs onnxscript_that_is_not_there, .*pip install 'marloft\[train\]'"
    with pytest.raises(ConfigError, match=words):
        tracing.write_onnx(modules.One(), {"items": ITEMS}, tmp_path / "model")
