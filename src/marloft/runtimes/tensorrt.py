"""TensorRT 10 on an NVIDIA GPU: engines that were built on this kind of GPU by this release.

https://docs.nvidia.com/deeplearning/tensorrt/latest/_static/python-api/index.html
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from msgspec import Struct
from numpy.typing import NDArray

from marloft.contract.manifest import EngineFacts
from marloft.errors import ConfigError, ServingError
from marloft.files import read_json
from marloft.runtimes.protocol import Arrays

MAJOR = "10"


class Host(Struct, frozen=True, kw_only=True):
    """This machine's TensorRT and first GPU."""

    tensorrt: str
    gpu: str
    compute_capability: str


class TensorRtRuntime:
    """An engine with one optimization profile; runs of more rows than it takes are cut."""

    def __init__(self, path: Path) -> None:
        """Load a `.plan` file next to which `engine_file` lies.

        Raises:
            ConfigError: there is no GPU or no TensorRT 10 here.
            ServingError: the engine was built for another TensorRT or GPU, or cannot be loaded.
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
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        self._outputs = [
            name for name in names if self._engine.get_tensor_mode(name) == trt.TensorIOMode.OUTPUT
        ]

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Run the engine on all rows, at most `max_rows` at a time."""
        rows = len(next(iter(inputs.values())))
        answers = [
            self._run_once({name: array[part] for name, array in inputs.items()})
            for part in parts(rows, self._facts.max_rows)
        ]
        return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}

    def _run_once(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        with torch.cuda.stream(self._stream):
            # Held until the end: TensorRT knows only their addresses.
            held = {n: torch.from_numpy(np.ascontiguousarray(a)).cuda() for n, a in inputs.items()}
            for name, tensor in held.items():
                if not self._context.set_input_shape(name, tuple(tensor.shape)):
                    raise ServingError(
                        f"the engine takes no {name} of shape {tuple(tensor.shape)}; it was built "
                        f"for {self._facts.min_rows} to {self._facts.max_rows} rows."
                    )
            for name in self._outputs:
                held[name] = torch.empty(
                    tuple(self._context.get_tensor_shape(name)), dtype=torch.float32, device="cuda"
                )
            for name, tensor in held.items():
                self._context.set_tensor_address(name, tensor.data_ptr())
            if not self._context.execute_async_v3(self._stream.cuda_stream):
                raise ServingError("TensorRT could not run the engine (see its log above).")
            # Copying to the host waits for the stream.
            return {name: held[name].cpu().numpy() for name in self._outputs}


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
