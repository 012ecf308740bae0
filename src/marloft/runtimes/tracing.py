"""Writes a PyTorch module as one TorchScript or ONNX file, with its inputs and outputs by name.

Neither file holds a path or a time. Imports torch, so that only who exports imports this.
"""

import inspect
import io
import logging
import warnings
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from marloft import files
from marloft.errors import ConfigError, DataError
from marloft.runtimes.naming import check_names, named_outputs
from marloft.runtimes.torchscript import to_array

Tensors = Mapping[str, Tensor]
# What torch.onnx imports when it exports.
_NEEDS = ("onnx", "onnxscript")
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


def answers_of(module: nn.Module, inputs: Tensors) -> dict[str, NDArray[Any]]:
    """Return what a module answers, by name (`named_outputs` has the rule)."""
    outputs = named_outputs(_answer(module, inputs), Tensor)
    return {name: to_array(output) for name, output in outputs.items()}


def check_module_inputs(module: nn.Module, inputs: Tensors, per_request: Collection[str]) -> None:
    """Refuse inputs by which a module cannot be traced.

    Raises:
        DataError: a name is none of forward's arguments, or one of those is missing; an input
            without a row axis is not named in `per_request`, or has fewer than two rows.
    """
    arguments = inspect.signature(module.forward).parameters.values()
    if any(each.kind is each.VAR_KEYWORD for each in arguments):
        takes, needs = dict.fromkeys(inputs, ""), set()
    else:
        named = [a for a in arguments if a.kind is not a.VAR_POSITIONAL]
        takes = {each.name: "" for each in named}
        needs = {each.name for each in named if each.default is each.empty}
    check_names(f"{type(module).__name__}.forward", inputs, takes, needs)
    for name, tensor in inputs.items():
        if name not in per_request and (tensor.ndim == 0 or len(tensor) < 2):
            raise DataError(
                f"input {name} has shape {tuple(tensor.shape)}; give two rows at least, since "
                "exporters take one row for a constant, or name it in `per_request` if it has no "
                "row axis."
            )


def example_of(inputs: Tensors, per_request: Collection[str]) -> dict[str, Tensor]:
    """Return the first two rows of each input, and those without a row axis whole."""
    return {name: t if name in per_request else t[:2] for name, t in inputs.items()}


def write_torchscript(module: nn.Module, example: Tensors, path: Path) -> None:
    """Trace a module and write one TorchScript file; a scripted module is written as it is.

    The same weights give the same bytes, the first time in a process: torch numbers the classes
    of later ones.

    Args:
        module: takes the inputs by name and returns tensors in any form that `named_outputs`
            knows. Where they are several, the file returns them as a dict by those names, since
            a trace forgets the fields of a NamedTuple.
        example: a few rows of each input; two at least, since tracing takes 1 for a constant.
        path: where the file goes.
    """
    buffer = io.BytesIO()
    module.eval()
    with warnings.catch_warnings():
        # TorchScript is deprecated upstream; this export stays while its runtime is supported.
        warnings.filterwarnings("ignore", r".*torch\.jit\.", DeprecationWarning)
        written = module if isinstance(module, torch.jit.ScriptModule) else _trace(module, example)
        torch.jit.save(written, buffer)
    files.write_atomic(path, _without_debug(buffer.getvalue()))


def write_onnx(
    module: nn.Module,
    example: Tensors,
    path: Path,
    outputs: Sequence[str] = (),
    per_request: Collection[str] = (),
) -> None:
    """Export a module by `torch.onnx.export` and write one ONNX file, weights included.

    Args:
        module: takes the inputs by name and returns tensors in any form that `named_outputs`
            knows.
        example: two rows or more of each input, in the order of the graph's inputs.
        path: where the file goes.
        outputs: the names of the graph's outputs in the module's order; by default the names that
            `named_outputs` gives them.
        per_request: the inputs without a row axis, whose shape is fixed; the others share one
            dynamic row axis, `n`.

    Raises:
        DataError: torch cannot export the module, or it has another number of outputs.
        ConfigError: a package that torch's exporter needs is not installed.
    """
    _check_installed()
    module.eval()
    answer, rows = _answer(module, example), torch.export.Dim("n")
    named = named_outputs(answer, Tensor)
    if outputs and len(outputs) != len(named):
        raise DataError(
            f"`outputs` names {len(outputs)} ({', '.join(outputs)}), and the module answers "
            f"{len(named)}: {', '.join(named)}."
        )
    exported = module if isinstance(answer, Tensor) else _returning(module, _as_tuple)
    with _quiet_exporter():
        try:
            program = torch.onnx.export(
                exported,
                kwargs=dict(example),
                dynamo=True,
                input_names=list(example),
                output_names=list(outputs or named),
                dynamic_shapes={n: None if n in per_request else {0: rows} for n in example},
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise DataError(_why_not_exported(error)) from error
    if program is None:
        raise DataError("torch.onnx.export returned no program; report this with the model.")
    proto = program.model_proto
    _drop_provenance(proto)
    files.write_atomic(path, proto.SerializeToString(deterministic=True))


def _answer(module: nn.Module, inputs: Tensors) -> Any:
    with torch.inference_mode():
        return module(**inputs)


def _trace(module: nn.Module, example: Tensors) -> Any:
    one = isinstance(_answer(module, example), Tensor)
    traced = module if one else _returning(module, lambda answer: named_outputs(answer, Tensor))
    # Strict tracing refuses a dict, whose keys could differ from call to call.
    return torch.jit.trace(  # type: ignore[no-untyped-call]
        traced, example_kwarg_inputs=dict(example), strict=one
    )


def _as_tuple(answer: Any) -> tuple[Tensor, ...]:
    return tuple(named_outputs(answer, Tensor).values())


def _returning(module: nn.Module, form: Callable[[Any], Any]) -> nn.Module:
    """Return a module that answers as `module` does, in another form, to the same arguments."""

    class Reformed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = module

        def forward(self, *args: Tensor, **inputs: Tensor) -> Any:
            return form(self.model(*args, **inputs))

    # Both exporters take the names of the arguments from here.
    vars(Reformed.forward)["__signature__"] = inspect.signature(type(module).forward)
    return Reformed().eval()


def _check_installed() -> None:
    missing = [name for name in _NEEDS if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"export_onnx needs {' and '.join(missing)}, not installed here; "
            "pip install 'marloft[train]'."
        )


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence what torch's exporter says of itself, not of the module."""
    log = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = log.level
    # Warnings about operators of torchvision, where that is not installed.
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # Its own deprecated call, and a note that inputs share the one axis named n.
            warnings.filterwarnings("ignore", r".*treespec, LeafSpec", FutureWarning)
            warnings.filterwarnings("ignore", r"# The axis name: n will not be used", UserWarning)
            yield
    finally:
        log.setLevel(level)


def _why_not_exported(error: Exception) -> str:
    """Return in one line why torch.onnx cannot export a module."""
    _, _, summary = str(error).partition("## Exception summary")
    lines = [line.strip() for line in summary.splitlines() if line.strip()]
    why = lines[0] if lines else str(error).splitlines()[0]
    return (
        f"torch.onnx cannot export the module: {why}; write it without Python branches on the "
        "values of tensors, or use export_torchscript(torch.jit.script(module), ...)."
    )


def _drop_provenance(proto: Any) -> None:
    """Remove from a `ModelProto` what the exporter noted about this machine: paths in traces."""
    for holder in (proto, proto.graph, *proto.functions):
        holder.ClearField("metadata_props")
        holder.ClearField("doc_string")
    graphs = (proto.graph, *proto.functions)
    values = [v for g in graphs for v in (*g.node, *g.value_info)]
    for value in (*values, *proto.graph.input, *proto.graph.output, *proto.graph.initializer):
        value.ClearField("metadata_props")
        value.ClearField("doc_string")


def _without_debug(content: bytes) -> bytes:
    """Rewrite a TorchScript file without what depends on this machine.

    That is the debug members, which hold paths, and the optional hash over them.
    """
    output = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as source,
        zipfile.ZipFile(output, "w", zipfile.ZIP_STORED) as target,
    ):
        for name in source.namelist():
            if not name.endswith((".debug_pkl", ".data/serialization_id")):
                target.writestr(zipfile.ZipInfo(name, _ZIP_TIME), source.read(name))
    return output.getvalue()
