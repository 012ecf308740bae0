"""What of the TensorRT runtime can be held without a GPU: checks, cuts and messages."""

import re
import sys
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pytest
import torch
from msgspec.structs import replace

from marloft import files
from marloft.contract.manifest import EngineFacts
from marloft.errors import ConfigError, DataError, ServingError
from marloft.runtimes import load_runtime
from marloft.runtimes.tensorrt import (
    Host,
    check_inputs,
    engine_file,
    import_tensorrt,
    join_parts,
    parts,
    read_bindings,
    read_facts,
    refuse_foreign,
)

HOST = Host(tensorrt="10.9.0.34", gpu="NVIDIA L4", compute_capability="8.9")
FACTS = EngineFacts(
    tensorrt="10.9.0.34",
    gpu="NVIDIA L4",
    compute_capability="8.9",
    precision="fp32",
    min_rows=1,
    opt_rows=50,
    max_rows=1000,
)
PLAN = Path("model.plan")
without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")


def test_an_engine_of_this_machine_is_accepted() -> None:
    refuse_foreign(PLAN, FACTS, HOST)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("tensorrt", "10.8.0.43", "TensorRT 10.8.0.43, this machine has 10.9.0.34"),
        ("compute_capability", "9.0", "compute capability 9.0, this machine has 8.9"),
        ("gpu", "NVIDIA L40", "GPU NVIDIA L40, this machine has NVIDIA L4"),
    ],
)
def test_an_engine_of_another_machine_is_refused(key: str, value: str, said: str) -> None:
    foreign = replace(FACTS, **{key: value})
    with pytest.raises(ServingError) as caught:
        refuse_foreign(PLAN, foreign, HOST)
    assert str(caught.value) == (
        f"model.plan was built for {said}; build it again here: "
        "python training/export.py --tensorrt."
    )


def test_facts_are_read_from_beside_the_engine(tmp_path: Path) -> None:
    plan = tmp_path / "model.plan"
    assert engine_file(plan).name == "model.engine.json"
    files.write_json(engine_file(plan), FACTS)
    assert read_facts(plan) == FACTS


def test_an_engine_without_its_facts_is_refused_with_the_cure(tmp_path: Path) -> None:
    said = "model.plan lies without model.engine.json"
    with pytest.raises(ServingError, match=re.escape(said)) as caught:
        read_facts(tmp_path / "model.plan")
    assert "`files: {model.engine.json: ...}`" in str(caught.value)


@pytest.mark.parametrize(("rows", "most", "sizes"), [(7, 3, [3, 3, 1]), (3, 3, [3]), (0, 3, [0])])
def test_parts_cover_all_rows_once_in_order(rows: int, most: int, sizes: list[int]) -> None:
    numbers = np.arange(rows)
    cut = [numbers[part] for part in parts(rows, most)]
    assert [len(part) for part in cut] == sizes
    assert np.concatenate(cut).tolist() == numbers.tolist()


@without_gpu
def test_loading_an_engine_without_a_gpu_is_refused() -> None:
    said = "TensorRT needs an NVIDIA GPU and a CUDA build of torch, this machine offers none"
    with pytest.raises(ConfigError, match=said):
        load_runtime("tensorrt", PLAN, threads=1)


def test_a_gpu_without_tensorrt_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(ConfigError, match=re.escape("pip install 'marloft[gpu]'")):
        import_tensorrt()


@pytest.mark.parametrize(("version", "accepted"), [("10.9.0", True), ("8.6.1", False)])
def test_another_major_release_is_refused(
    monkeypatch: pytest.MonkeyPatch, version: str, accepted: bool
) -> None:
    class Module:
        __version__ = version

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setitem(sys.modules, "tensorrt", Module)
    if accepted:
        assert import_tensorrt() is Module
        return
    with pytest.raises(ConfigError, match=r"TensorRT 8\.6\.1 is installed, 10\.x is supported"):
        import_tensorrt()


class Named(NamedTuple):
    """An enumeration's member as TensorRT has it."""

    name: str


class FakeEngine:
    """Describes its tensors as a deserialized engine does; runs nothing."""

    tensors: ClassVar = {
        "items": ("INPUT", "FLOAT", (-1, 3)),
        "user": ("INPUT", "INT64", (1, 2)),
        "score": ("OUTPUT", "HALF", (-1,)),
        "mean": ("OUTPUT", "BOOL", ()),
    }
    num_io_tensors = len(tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> Named:
        return Named(self.tensors[name][0])

    def get_tensor_dtype(self, name: str) -> Named:
        return Named(self.tensors[name][1])

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.tensors[name][2]


def test_bindings_have_the_engines_names_dtypes_and_row_axes() -> None:
    inputs, outputs = read_bindings("model.plan", FakeEngine())
    assert inputs == {"items": (torch.float32, True), "user": (torch.int64, False)}
    assert outputs == {"score": (torch.float16, True), "mean": (torch.bool, False)}


def test_dtype_that_torch_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FakeEngine.tensors, "mean", ("OUTPUT", "FP4", ()))
    with pytest.raises(DataError, match=r"model\.plan has mean of type FP4"):
        read_bindings("model.plan", FakeEngine())


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"items": np.zeros((2, 3)), "user": np.zeros((1, 2), np.int64)}, "takes it as float32"),
        (
            {"items": np.zeros((2, 3), np.float32)},
            "was not given 'user'. It takes: items (float32)",
        ),
        ({"itms": np.zeros((2, 3), np.float32)}, "no input 'itms'. Did you mean 'items'?"),
    ],
)
def test_inputs_that_an_engine_would_misread_are_refused(inputs: Any, words: str) -> None:
    takes, _ = read_bindings("model.plan", FakeEngine())
    with pytest.raises(DataError, match=re.escape(words)):
        check_inputs("model.plan", inputs, takes)


def test_answers_of_several_runs_are_joined_by_rows() -> None:
    _, outputs = read_bindings("model.plan", FakeEngine())
    rows = [{"score": np.arange(3)}, {"score": np.arange(2)}]
    joined = join_parts("model.plan", rows, {"score": outputs["score"]})
    assert joined["score"].tolist() == [0, 1, 2, 0, 1]
    assert join_parts("model.plan", rows[:1], outputs) is rows[0]
    with pytest.raises(DataError, match="answers mean for a whole run"):
        join_parts("model.plan", rows, outputs)
