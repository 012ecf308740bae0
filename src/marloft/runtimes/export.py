"""From a trained model to an artifact that `marloft pack` takes: the file and its sidecar.

The sidecar says how far the exported file is from its source model, so that nothing is packed
that was never compared. `export_torchscript` and `export_onnx` do all of it for a PyTorch module;
for a file that another exporter wrote (skl2onnx), `describe_export` does the rest. The source's
answers are given as arrays, so that they can come from any framework.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from numpy.typing import NDArray

from marloft import files
from marloft.contract.manifest import Artifact, GoldenAnswer
from marloft.contract.manifest import Runtime as RuntimeName
from marloft.runtimes.compare import MAX_ABS_DIFF, compare_export
from marloft.runtimes.protocol import Arrays

if TYPE_CHECKING:
    import torch


def export_torchscript(
    module: "torch.nn.Module",
    inputs: "Mapping[str, torch.Tensor]",
    path: Path,
    *,
    per_request: Collection[str] = (),
    parents: Sequence[Path] = (),
    metrics: Mapping[str, float] | None = None,
    allowed: float = MAX_ABS_DIFF,
) -> dict[str, NDArray[Any]]:
    """Write a module as TorchScript with its sidecar and return the module's own answers.

    It is traced; a module whose Python branches depend on values is scripted first:
    `export_torchscript(torch.jit.script(module), ...)`.

    Args:
        module: the trained source model; takes the inputs by name and returns one tensor (the
            output `score`), a NamedTuple (its fields), a dict (its keys), or a tuple or list
            (`output_0`, `output_1`, …) of tensors.
        inputs: n rows of each input, on which file and module are compared; two at least.
        path: where the file goes; its folder is made.
        per_request: the inputs and outputs that have no row axis.
        parents: the files it was made from, such as the trained weights; their hashes are kept.
        metrics: what is known of the model's quality.
        allowed: the largest absolute difference of a float output that is accepted.

    Returns:
        What the module answers to the inputs, by output name: what golden answers hold.

    Raises:
        DataError: the file answers otherwise than the module, or inputs and module do not fit.
    """
    from marloft.runtimes import tracing  # noqa: PLC0415 - a worker that serves ONNX needs no torch
    from marloft.runtimes.torchscript import to_array  # noqa: PLC0415 - as above

    tracing.check_module_inputs(module, inputs, per_request)
    tracing.write_torchscript(module, tracing.example_of(inputs, per_request), path)
    answers, alone = _answers(module, inputs, per_request)
    describe_export(
        path,
        runtime="torchscript",
        inputs={name: to_array(tensor) for name, tensor in inputs.items()},
        expected=answers,
        parents=parents,
        metrics=metrics,
        allowed=allowed,
        per_request=per_request,
        alone=alone,
    )
    return answers


def export_onnx(
    module: "torch.nn.Module",
    inputs: "Mapping[str, torch.Tensor]",
    path: Path,
    *,
    outputs: Sequence[str] = (),
    per_request: Collection[str] = (),
    parents: Sequence[Path] = (),
    metrics: Mapping[str, float] | None = None,
    allowed: float = MAX_ABS_DIFF,
) -> dict[str, NDArray[Any]]:
    """Write a module as ONNX with its sidecar and return the module's own answers.

    The file holds its weights and takes any number of rows; inputs in `per_request` keep the shape
    that they have here.

    Args:
        module: as for `export_torchscript`.
        inputs: as for `export_torchscript`; their order is that of the graph's inputs.
        path: where the file goes; its folder is made.
        outputs: names for the outputs, in the module's order; by default `export_torchscript`'s.
        per_request: the inputs and outputs that have no row axis.
        parents: the files it was made from, such as the trained weights; their hashes are kept.
        metrics: what is known of the model's quality.
        allowed: the largest absolute difference of a float output that is accepted.

    Returns:
        What the module answers to the inputs, by output name: what golden answers hold.

    Raises:
        DataError: torch cannot export the module, the file answers otherwise than the module, or
            inputs, outputs and module do not fit.
        ConfigError: a package that torch's exporter needs is not installed.
    """
    from marloft.runtimes import tracing  # noqa: PLC0415 - as above
    from marloft.runtimes.torchscript import to_array  # noqa: PLC0415 - as above

    tracing.check_module_inputs(module, inputs, per_request)
    example = tracing.example_of(inputs, per_request)
    tracing.write_onnx(module, example, path, outputs, per_request)
    answers, alone = (
        dict(zip(outputs or each, each.values(), strict=True))
        for each in _answers(module, inputs, per_request)
    )
    describe_export(
        path,
        runtime="onnx",
        inputs={name: to_array(tensor) for name, tensor in inputs.items()},
        expected=answers,
        parents=parents,
        metrics=metrics,
        allowed=allowed,
        per_request=per_request,
        alone=alone,
    )
    return answers


def write_golden(path: Path, answers: Iterable[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    """Write `golden.jsonl`: request bodies and what the *source* model answers to them.

    Args:
        path: the file; its folder is made.
        answers: for each request its body and the part of the answer that is compared, for example
            `({"features": [{"text": "hello"}]}, {"prediction": ["greeting"]})`.
    """
    lines = [GoldenAnswer(request=body, expected=expected) for body, expected in answers]
    files.write_atomic(path, msgspec.json.Encoder().encode_lines(lines))


def describe_export(  # noqa: PLR0913 - each is a fact of its own, given by name
    path: Path,
    *,
    runtime: RuntimeName,
    inputs: Arrays,
    expected: Arrays,
    parents: Sequence[Path] = (),
    metrics: Mapping[str, float] | None = None,
    allowed: float = MAX_ABS_DIFF,
    per_request: Collection[str] = (),
    alone: Arrays | None = None,
) -> Artifact:
    """Run an exported file on its runtime, compare it, and write `<path>.json` next to it.

    It is run on all rows at once and on the first row alone, since an export often takes the
    number of rows of its example for a constant. Float outputs are compared by their distance;
    integers, bool and text have to be equal.

    Args:
        path: the exported file.
        runtime: what runs it.
        inputs: each input by name, n rows.
        expected: what the source model answers, by output name, n rows (`score` where TorchScript
            returns one tensor); other outputs are not compared.
        parents: the files it was made from, such as the trained weights; their hashes are kept.
        metrics: what is known of the model's quality.
        allowed: the largest absolute difference of a float output that is accepted.
        per_request: the inputs and outputs that have no row axis: they are given whole when the
            first row is run alone, and described with their own shape.
        alone: what the source model answers to the first row alone, by output name; by default the
            first row of `expected`, as it is where rows are independent.

    Raises:
        DataError: an output is missing, has another shape or kind of dtype, or is further away
            than `allowed`; the file cannot be run on the inputs.
    """
    compared = compare_export(
        path,
        runtime=runtime,
        inputs=inputs,
        expected=expected,
        allowed=allowed,
        per_request=per_request,
        alone=alone,
    )
    hashes = {parent.name: files.sha256_file(parent) for parent in parents}
    sidecar = compared.describe(hashes, metrics or {})
    files.write_json(files.sidecar_path(path), sidecar)
    return sidecar


def _answers(
    module: "torch.nn.Module", inputs: "Mapping[str, torch.Tensor]", per_request: Collection[str]
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Return what a module answers to all rows, and to the first row alone."""
    from marloft.runtimes import tracing  # noqa: PLC0415 - as above

    first = {name: t if name in per_request else t[:1] for name, t in inputs.items()}
    return tracing.answers_of(module, inputs), tracing.answers_of(module, first)
