"""The arrays of a batch: checked, put together for one run of the model, cut apart again."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marloft.runtimes import Arrays


def check_inputs(inputs: Arrays) -> int:
    """Return how many rows one request's inputs have.

    Raises:
        TypeError, ValueError: `decode` returned something else than arrays of equally many rows.
            Two such requests could make up for each other's missing rows and mix their answers.
    """
    if not isinstance(inputs, Mapping):
        raise TypeError(f"decode returned {type(inputs).__name__}, not arrays by name.")
    rows = {name: len(array) for name, array in inputs.items()}
    if not rows:
        raise ValueError("decode returned no arrays.")
    if len(set(rows.values())) != 1 or 0 in rows.values():
        raise ValueError(f"decode returned arrays of {rows} rows; each needs the same, at least 1.")
    return next(iter(rows.values()))


def check_outputs(outputs: Arrays, rows: int) -> None:
    """Raise TypeError or ValueError unless `predict` returned arrays with one entry per row."""
    if not isinstance(outputs, Mapping):
        raise TypeError(f"predict returned {type(outputs).__name__}, not arrays by name.")
    for name, output in outputs.items():
        if len(output) != rows:
            raise ValueError(f"predict returned {len(output)} rows of {name!r} for {rows} inputs.")


def concatenate(parts: Sequence[Arrays]) -> Arrays:
    """Return the inputs of several requests as one, in order."""
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def cut(outputs: Arrays, counts: Sequence[int]) -> list[dict[str, NDArray[Any]]]:
    """Return each request's own part of the outputs; `counts` are the requests' rows in order."""
    ends = np.cumsum(counts).tolist()
    return [
        {name: output[end - count : end] for name, output in outputs.items()}
        for end, count in zip(ends, counts, strict=True)
    ]
