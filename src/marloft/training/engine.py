"""Building a TensorRT engine from an ONNX file, on the GPU that will run it.

The settings are computed without TensorRT, so that they can be tested where there is no GPU.
https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/work-dynamic-shapes.html
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from msgspec import Struct

from marloft.contract.manifest import EngineFacts
from marloft.errors import ConfigError, DataError
from marloft.runtimes.tensorrt import Host

EnginePrecision = Literal["fp32", "fp16"]
Shape = tuple[int, ...]
_WORD = re.compile(r"\w+\[n(?P<rest>(,\d+)*)\]")
_MIB = 2**20


class EngineSettings(Struct, frozen=True, kw_only=True):
    """How an engine is built.

    The engine takes `min_rows` to `max_rows` rows a run and is tuned for `opt_rows`: a request of
    fifty candidates, and twenty of them in a batch at most. `workspace_mib` bounds the scratch
    memory of its layers.
    """

    precision: EnginePrecision
    min_rows: int = 1
    opt_rows: int = 50
    max_rows: int = 1000
    workspace_mib: int = 1024

    def __post_init__(self) -> None:
        """Refuse rows that are out of order."""
        if not 1 <= self.min_rows <= self.opt_rows <= self.max_rows:
            raise ConfigError(
                f"rows of an engine: least {self.min_rows}, usual {self.opt_rows}, most "
                f"{self.max_rows}; they must be at least 1 and in this order."
            )


class ShapeRange(NamedTuple):
    """The least, the usual and the largest shape of one input."""

    least: Shape
    usual: Shape
    most: Shape


def profile_shapes(inputs: Mapping[str, str], settings: EngineSettings) -> dict[str, ShapeRange]:
    """Return the shapes of each input, named in a sidecar's form such as `float32[n,19]`.

    Raises:
        ConfigError: the rows of an input are not its first and only free axis.
    """
    rows = (settings.min_rows, settings.opt_rows, settings.max_rows)
    return {name: ShapeRange(*((n, *_rest(name, w)) for n in rows)) for name, w in inputs.items()}


def build(trt: Any, onnx: Path, inputs: Mapping[str, str], settings: EngineSettings) -> bytes:
    """Build the engine; takes minutes, and gives other bytes each time (it tries and measures).

    Raises:
        DataError: TensorRT cannot read the graph, or finds no way to run it.
    """
    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    # Since TensorRT 10 the batch is always an explicit axis; 0 asks for nothing else.
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx.read_bytes()):
        reasons = [parser.get_error(i).desc() for i in range(parser.num_errors)]
        raise DataError(parse_failure(onnx.name, trt.__version__, reasons))
    plan = builder.build_serialized_network(
        network, _configure(trt, builder, profile_shapes(inputs, settings), settings)
    )
    if plan is None:
        raise DataError(
            f"TensorRT {trt.__version__} found no way to run {onnx.name} (see its log above); "
            "serve the ONNX export."
        )
    return bytes(plan)


def parse_failure(name: str, version: str, reasons: list[str]) -> str:
    """Return in one line why TensorRT cannot read a graph."""
    why = "; ".join(" ".join(reason.split()) for reason in reasons) or "it gives no reason"
    return f"TensorRT {version} cannot read {name}: {why}; serve the ONNX export."


def facts(host: Host, settings: EngineSettings) -> EngineFacts:
    """Return what an engine that was built here with these settings is bound to."""
    return EngineFacts(
        tensorrt=host.tensorrt,
        gpu=host.gpu,
        compute_capability=host.compute_capability,
        precision=settings.precision,
        min_rows=settings.min_rows,
        opt_rows=settings.opt_rows,
        max_rows=settings.max_rows,
    )


def _configure(
    trt: Any, builder: Any, shapes: Mapping[str, ShapeRange], settings: EngineSettings
) -> Any:
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace_mib * _MIB)
    # TF32 is on by default and keeps 10 bits of the fraction: fp32 must mean fp32.
    config.clear_flag(trt.BuilderFlag.TF32)
    if settings.precision == "fp16":
        config.set_flag(trt.BuilderFlag.FP16)
    profile = builder.create_optimization_profile()
    for name, (least, usual, most) in shapes.items():
        profile.set_shape(name, least, usual, most)
    config.add_optimization_profile(profile)
    return config


def _rest(name: str, word: str) -> Shape:
    """Return the fixed axes after the rows: `float32[n,19]` → (19,)."""
    found = _WORD.fullmatch(word)
    if found is None:
        raise ConfigError(
            f"input {name} is {word!r}; an engine takes inputs such as 'float32[n,19]', whose "
            "rows n come first."
        )
    return tuple(int(axis) for axis in found["rest"].split(",") if axis)
