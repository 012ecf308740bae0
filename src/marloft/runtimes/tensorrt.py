"""TensorRT 10 on an NVIDIA GPU: engines that were built on this kind of GPU by this release.

https://docs.nvidia.com/deeplearning/tensorrt/latest/_static/python-api/index.html
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from msgspec import Struct
from numpy.typing import NDArray

from marloft.contract.manifest import EngineFacts
from marloft.errors import ConfigError, DataError, ServingError
from marloft.files import read_json
from marloft.runtimes.naming import check_names
from marloft.runtimes.protocol import Arrays
from marloft.runtimes.torchscript import to_array

MAJOR = "10"
# TensorRT's name of a dtype → torch's.
_DTYPES = {
    "FLOAT": torch.float32,
    "HALF": torch.float16,
    "BF16": torch.bfloat16,
    "INT8": torch.int8,
    "UINT8": torch.uint8,
    "INT32": torch.int32,
    "INT64": torch.int64,
    "BOOL": torch.bool,
}


class Host(Struct, frozen=True, kw_only=True):
    """This machine's TensorRT and first GPU."""

    tensorrt: str
    gpu: str
    compute_capability: str


class Binding(NamedTuple):
    """An input or output of an engine; `by_row` when its first axis is the rows of a run."""

    dtype: torch.dtype
    by_row: bool


class TensorRtRuntime:
    """An engine with one optimization profile; runs of more rows than it takes are cut."""

    def __init__(self, path: Path) -> None:
        """Load a `.plan` file next to which `engine_file` lies.

        Raises:
            ConfigError: there is no GPU or no TensorRT 10 here.
            ServingError: the engine was built for another TensorRT or GPU, or cannot be loaded.
            DataError: an input or output has a dtype that torch has not.
        """
        trt = import_tensorrt()
        self._facts = read_facts(path)
        # Asked before TensorRT reads the bytes, whose own answer is a line in its log.
        refuse_foreign(path, self._facts, describe_host(trt))
        self._engine: Any = trt.Runtime(trt.Logger(trt.Logger.WARNING)).deserialize_cuda_engine(
            path.read_bytes()
        )
        if self._engine is None:
            raise ServingError(
                f"{path.name}: TensorRT {trt.__version__} cannot load it (see its log above); "
                "build it again on this machine: python training/export.py --tensorrt."
            )
        self._context: Any = self._engine.create_execution_context()
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._name = path.name
        self._inputs, self._outputs = read_bindings(path.name, self._engine)

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Run the engine on all rows, at most `max_rows` at a time.

        Raises:
            DataError: an input is missing, unknown or of another dtype than the engine's.
        """
        check_inputs(self._name, inputs, self._inputs)
        by_row = [name for name, binding in self._inputs.items() if binding.by_row]
        rows = len(inputs[by_row[0]]) if by_row else 1
        answers = [
            self._run_once({n: a[part] if n in by_row else a for n, a in inputs.items()})
            for part in parts(rows, self._facts.max_rows)
        ]
        return join_parts(self._name, answers, self._outputs)

    def _run_once(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        with torch.cuda.stream(self._stream):
            # Held until the end: TensorRT knows only their addresses.
            held = {
                n: torch.from_numpy(np.require(a, requirements=("C", "W"))).cuda()
                for n, a in inputs.items()
            }
            for name, tensor in held.items():
                if not self._context.set_input_shape(name, tuple(tensor.shape)):
                    raise ServingError(
                        f"the engine takes no {name} of shape {tuple(tensor.shape)}; it was built "
                        f"for {self._facts.min_rows} to {self._facts.max_rows} rows."
                    )
            for name, binding in self._outputs.items():
                held[name] = torch.empty(
                    tuple(self._context.get_tensor_shape(name)), dtype=binding.dtype, device="cuda"
                )
            for name, tensor in held.items():
                self._context.set_tensor_address(name, tensor.data_ptr())
            if not self._context.execute_async_v3(self._stream.cuda_stream):
                raise ServingError("TensorRT could not run the engine (see its log above).")
            # Copying to the host waits for the stream.
            return {name: to_array(held[name]) for name in self._outputs}


def read_bindings(model: str, engine: Any) -> tuple[dict[str, Binding], dict[str, Binding]]:
    """Return the inputs and the outputs of an engine by name.

    Raises:
        DataError: one has a dtype that torch has not.
    """
    found: dict[str, dict[str, Binding]] = {"INPUT": {}, "OUTPUT": {}}
    for name in map(engine.get_tensor_name, range(engine.num_io_tensors)):
        dtype = engine.get_tensor_dtype(name).name
        if dtype not in _DTYPES:
            raise DataError(
                f"{model} has {name} of type {dtype}; inputs and outputs have to be one of "
                f"{', '.join(_DTYPES)}: cast it in the model."
            )
        by_row = tuple(engine.get_tensor_shape(name))[:1] == (-1,)
        found[engine.get_tensor_mode(name).name][name] = Binding(_DTYPES[dtype], by_row)
    return found["INPUT"], found["OUTPUT"]


def check_inputs(model: str, inputs: Arrays, takes: dict[str, Binding]) -> None:
    """Refuse inputs that an engine does not take; it would read other dtypes as its own.

    Raises:
        DataError: with the engine's names and dtypes.
    """
    words = {name: str(each.dtype).removeprefix("torch.") for name, each in takes.items()}
    check_names(model, inputs, words, set(words))
    for name, array in inputs.items():
        if str(array.dtype) != words[name]:
            raise DataError(
                f"{name} is {array.dtype}; {model} takes it as {words[name]}: convert it in "
                f"`decode` by `.astype(np.{words[name]})`."
            )


def join_parts(
    model: str, answers: list[dict[str, NDArray[Any]]], outputs: dict[str, Binding]
) -> dict[str, NDArray[Any]]:
    """Return the answers of several runs as one.

    Raises:
        DataError: there are several, and an output belongs to no row.
    """
    if len(answers) == 1:
        return answers[0]
    for name, binding in outputs.items():
        if not binding.by_row:
            raise DataError(
                f"{model} answers {name} for a whole run, and these rows are more than it takes "
                "in one; build it again for more rows."
            )
    return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}


def import_tensorrt() -> Any:
    """Return the module `tensorrt`.

    Raises:
        ConfigError: there is no NVIDIA GPU here, or no TensorRT 10.
    """
    if not torch.cuda.is_available():
        raise ConfigError(
            "TensorRT needs an NVIDIA GPU and a CUDA build of torch, this machine offers none; use "
            "the ONNX export here."
        )
    try:
        import tensorrt  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            f"TensorRT cannot be imported ({error}); pip install 'marloft[gpu]'."
        ) from None
    if tensorrt.__version__.split(".")[0] != MAJOR:
        raise ConfigError(
            f"TensorRT {tensorrt.__version__} is installed, {MAJOR}.x is supported; "
            "pip install 'marloft[gpu]'."
        )
    return tensorrt


def describe_host(trt: Any) -> Host:
    """Return what an engine that is built here is bound to."""
    major, minor = torch.cuda.get_device_capability()
    return Host(
        tensorrt=trt.__version__,
        gpu=torch.cuda.get_device_name(),
        compute_capability=f"{major}.{minor}",
    )


def engine_file(plan: Path) -> Path:
    """Return where the facts about a `.plan` file lie: `model.plan` → `model.engine.json`.

    They are apart from the sidecar, which holds times and stays outside archives.
    """
    return plan.with_suffix(".engine.json")


def read_facts(plan: Path) -> EngineFacts:
    """Read the facts about an engine; raises ServingError when they are missing."""
    file = engine_file(plan)
    if not file.is_file():
        raise ServingError(
            f"{plan.name} lies without {file.name}, which says what it was built for; put both in "
            f"one folder (in an archive: `files: {{{file.name}: ...}}`)."
        )
    return read_json(file, EngineFacts)


def refuse_foreign(plan: Path, facts: EngineFacts, host: Host) -> None:
    """Raise ServingError if the engine was built for another TensorRT or another GPU."""
    pairs = [
        ("TensorRT", facts.tensorrt, host.tensorrt),
        ("compute capability", facts.compute_capability, host.compute_capability),
        ("GPU", facts.gpu, host.gpu),
    ]
    for what, built, here in pairs:
        if built != here:
            raise ServingError(
                f"{plan.name} was built for {what} {built}, this machine has {here}; build it "
                "again here: python training/export.py --tensorrt."
            )


def parts(rows: int, most: int) -> Iterator[slice]:
    """Yield slices that cover `rows` rows in order, each of at most `most`; one empty for none."""
    for start in range(0, max(rows, 1), most):
        yield slice(start, min(start + most, rows))
