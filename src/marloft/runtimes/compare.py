"""An exported file and the model it came from: run, compared, described."""

import shlex
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marloft import files
from marloft.contract.manifest import ROWS_CURE, Artifact, artifact_digest
from marloft.contract.manifest import Runtime as RuntimeName
from marloft.errors import DataError, nearest
from marloft.runtimes.artifact_files import other_files
from marloft.runtimes.load import load_runtime
from marloft.runtimes.protocol import Arrays, Runtime

MAX_ABS_DIFF = 1e-4
# NumPy's kind of a dtype → how it is compared: float by distance, the others exactly.
_GROUPS = {"f": "float", **dict.fromkeys("biu", "integer"), **dict.fromkeys("USO", "text")}


@dataclass(frozen=True, kw_only=True)
class ComparedExport:
    """An exported file that answers as its source model does.

    `outputs` are the file's own answers to `inputs`, n rows each but for those in `per_request`,
    and `max_abs_diff` is their largest absolute difference from `expected`, the source's.
    """

    path: Path
    runtime: RuntimeName
    inputs: Arrays
    expected: Arrays
    outputs: Arrays
    max_abs_diff: float
    per_request: Collection[str] = ()

    def describe(self, parents: Mapping[str, str], metrics: Mapping[str, float]) -> Artifact:
        """Return the file's sidecar; `parents` maps what it was made from to its SHA-256."""
        rows = {len(a) for name, a in self.inputs.items() if name not in self.per_request}
        others = other_files(self.path, self.runtime)
        hashes = {name: files.sha256_file(path) for name, path in others.items()}
        return Artifact(
            file=self.path.name,
            runtime=self.runtime,
            sha256=artifact_digest({self.path.name: files.sha256_file(self.path), **hashes}),
            size_bytes=sum(path.stat().st_size for path in (self.path, *others.values())),
            files=hashes,
            inputs=describe_arrays(self.inputs, self.per_request),
            outputs=describe_arrays(
                {name: self.outputs[name] for name in self.expected}, self.per_request
            ),
            parents=dict(parents),
            max_abs_diff=self.max_abs_diff,
            rows_compared=max(rows, default=1),
            metrics=dict(metrics),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            command=shlex.join(["python", *sys.argv]),
        )


def compare_export(
    path: Path,
    *,
    runtime: RuntimeName,
    inputs: Arrays,
    expected: Arrays,
    allowed: float = MAX_ABS_DIFF,
    per_request: Collection[str] = (),
    alone: Arrays | None = None,
) -> ComparedExport:
    """Run an exported file as `describe_export` does, and write nothing.

    Raises:
        DataError: an output is missing, has another shape or kind of dtype, or is further away
            than `allowed`; `per_request` names what is not there; the file cannot be run.
    """
    _check_names(per_request, inputs, expected)
    loaded = load_runtime(runtime, path, threads=1)
    outputs = _run(path, loaded, inputs, "all rows at once")
    _refuse_fixed_rows(path, loaded, inputs, expected, per_request)
    wanted = [(outputs, expected)]
    if set(inputs) - set(per_request):
        first = first_row(inputs, per_request)
        kept = {name: rows for name, rows in expected.items() if name not in per_request}
        wanted.append(
            (_run(path, loaded, first, "the first row alone"), alone or first_row(kept, ()))
        )
    compared = [
        (_distance(path, name, found, array), name, array)
        for found, source in wanted
        for name, array in source.items()
    ]
    # NumPy takes a NaN for the largest, which Python's max would pass over.
    distance, name, array = compared[int(np.argmax([each[0] for each in compared]))]
    # Written so that a NaN is refused too.
    if not distance <= allowed:
        raise DataError(
            f"{path} differs from its source model by {distance:.3g}, more than {allowed:g}, in "
            f"{name!r}, whose largest number is {_largest(array):.3g}; check the export, or write "
            "`allowed=…` where that is near enough."
        )
    return ComparedExport(
        path=path,
        runtime=runtime,
        inputs=inputs,
        expected=expected,
        outputs=outputs,
        max_abs_diff=distance,
        per_request=per_request,
    )


def _refuse_fixed_rows(
    path: Path, loaded: Runtime, inputs: Arrays, expected: Arrays, per_request: Collection[str]
) -> None:
    """Raise DataError unless the file also takes two rows, however many it is compared on."""
    if not set(inputs) - set(per_request):
        return
    pair = {n: a if n in per_request else np.repeat(a[:1], 2, axis=0) for n, a in inputs.items()}
    outputs = _run(path, loaded, pair, "two rows")
    for name in sorted(set(expected) & set(outputs) - set(per_request)):
        if outputs[name].shape[:1] != (2,):
            raise DataError(
                f"{path} gives {name!r} of shape {outputs[name].shape} for two rows; {ROWS_CURE}"
            )


def first_row(arrays: Arrays, per_request: Collection[str]) -> dict[str, NDArray[Any]]:
    """Return the first row of each array, and those without a row axis whole."""
    return {name: a if name in per_request else a[:1] for name, a in arrays.items()}


def describe_arrays(arrays: Arrays, per_request: Collection[str] = ()) -> dict[str, str]:
    """Return dtype and shape of each array in a sidecar's words, such as `float32[n,19]`.

    Those in `per_request` have no row axis and keep their own shape: `float32[1,16]`, `int64[]`.
    """
    described = {}
    for name, array in arrays.items():
        shape = array.shape if name in per_request else ("n", *array.shape[1:])
        dtype = "string" if _GROUPS.get(array.dtype.kind) == "text" else array.dtype
        described[name] = f"{dtype}[{','.join(map(str, shape))}]"
    return described


def _check_names(per_request: Collection[str], inputs: Arrays, expected: Arrays) -> None:
    if not expected:
        raise DataError("`expected` holds no output to compare; give the source's answer to one.")
    known = {**inputs, **expected}
    for name in per_request:
        if name not in known:
            raise DataError(
                f"`per_request` names {name!r}, which is no input or output.{nearest(name, known)}"
            )
    for name, array in known.items():
        if name not in per_request and np.ndim(array) == 0:
            raise DataError(
                f"{name} is a single number, without a row axis; name it: per_request=({name!r},)."
            )


def _run(path: Path, loaded: Runtime, inputs: Arrays, what: str) -> dict[str, NDArray[Any]]:
    try:
        return loaded.run(inputs)
    except Exception as error:
        # A runtime's own text ends with the cause, after a traceback of its own.
        *_, cause = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(
            f"{path} cannot be run on {what}: {cause} If the number of rows is the cause, "
            f"{ROWS_CURE}"
        ) from error


def _distance(path: Path, name: str, outputs: Arrays, wanted: NDArray[Any]) -> float:
    """Return how far an output is from the source's: 0 for what is not float, or it is refused."""
    if name not in outputs:
        raise DataError(f"{path} has no output {name!r}; it has: {', '.join(outputs)}.")
    found = outputs[name]
    if found.shape != wanted.shape:
        raise DataError(
            f"{path} gives {name!r} of shape {found.shape}, its source {wanted.shape}; {ROWS_CURE}"
        )
    groups = [_GROUPS.get(array.dtype.kind, str(array.dtype)) for array in (found, wanted)]
    if groups[0] != groups[1]:
        raise DataError(
            f"{path} gives {name!r} as {found.dtype}, its source as {wanted.dtype}; give the "
            f"source's answer as {found.dtype}, or cast in the model."
        )
    if groups[0] == "float":
        return _largest_difference(found, wanted)
    others = np.flatnonzero(_comparable(found) != _comparable(wanted))
    if len(others):
        first = int(others[0])
        raise DataError(
            f"{path} differs from its source model in {name!r}: {len(others)} of {found.size} "
            f"entries, the first {found.flat[first]} instead of {wanted.flat[first]}; "
            f"{found.dtype} has to be equal: check the export."
        )
    return 0.0


def _largest_difference(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    one, other = found.astype(np.float64), wanted.astype(np.float64)
    # Infinities that agree have no difference, which NumPy calls NaN.
    with np.errstate(invalid="ignore"):
        difference = np.where(one == other, 0.0, np.abs(one - other))
    return float(np.max(difference, initial=0.0))


def _largest(array: NDArray[Any]) -> float:
    return float(np.max(np.abs(array), initial=0.0))


def _comparable(array: NDArray[Any]) -> NDArray[Any]:
    return array.astype(str) if _GROUPS.get(array.dtype.kind) == "text" else array
