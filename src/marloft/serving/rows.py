"""The arrays of a batch: run by rows, all requests together, or request by request.

By rows they are checked, put together for one run of the model and cut apart again; by requests
each has a run of its own, whatever the shapes of its arrays.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from marloft.errors import ConfigError
from marloft.runtimes import Arrays

T = TypeVar("T")
BatchBy = Literal["rows", "requests"]
_CURE = 'for arrays of a whole request write `batch_by = "requests"` in the handler\'s class'


class Batching(Protocol):
    """How the requests of a batch share runs of the model."""

    def runs(self, batch: Sequence[T]) -> list[Sequence[T]]:
        """Return which requests are predicted together."""
        ...

    def check(self, inputs: Arrays) -> int:
        """Return by how much one request counts in its run; raises what does not fit."""
        ...

    def split(self, outputs: Arrays, counts: Sequence[int]) -> list[Arrays]:
        """Return each request's outputs of a run; raises what does not fit."""
        ...


class ByRows:
    """All requests in one run, each with its own rows; a request counts by them."""

    def runs(self, batch: Sequence[T]) -> list[Sequence[T]]:
        """Return the whole batch as one run."""
        return [batch] if batch else []

    def check(self, inputs: Arrays) -> int:
        """Return the rows of a request's inputs, as `check_inputs`."""
        return check_inputs(inputs)

    def split(self, outputs: Arrays, counts: Sequence[int]) -> list[Arrays]:
        """Return each request's rows of the outputs."""
        check_outputs(outputs, sum(counts))
        return cut(outputs, counts)


class ByRequests:
    """Each request in a run of its own; its outputs are its own, of any shape."""

    def runs(self, batch: Sequence[T]) -> list[Sequence[T]]:
        """Return a run for each request."""
        return [[each] for each in batch]

    def check(self, inputs: Arrays) -> int:
        """Return 1; raises TypeError or ValueError unless `decode` returned arrays by name."""
        _check_named("decode", inputs)
        return 1

    def split(self, outputs: Arrays, counts: Sequence[int]) -> list[Arrays]:
        """Return the outputs as they are; raises TypeError unless they are arrays by name."""
        _check_named("predict", outputs)
        return [outputs for _ in counts]


_KINDS: Mapping[BatchBy, Batching] = {"rows": ByRows(), "requests": ByRequests()}


def batching(batch_by: BatchBy) -> Batching:
    """Return how a handler with this `batch_by` is run.

    Raises:
        ConfigError: it is neither of the two words.
    """
    if batch_by not in _KINDS:
        raise ConfigError(
            f'batch_by is {batch_by!r}; it has to be "rows" or "requests": write '
            '`batch_by = "requests"` in the handler\'s class.'
        )
    return _KINDS[batch_by]


def check_inputs(inputs: Arrays) -> int:
    """Return how many rows one request's inputs have.

    Raises:
        TypeError, ValueError: `decode` returned something else than arrays of equally many rows.
            Two such requests could make up for each other's missing rows and mix their answers.
    """
    _check_named("decode", inputs)
    rows = {name: _rows("decode", name, array) for name, array in inputs.items()}
    if len(set(rows.values())) != 1 or 0 in rows.values():
        raise ValueError(
            f"decode returned arrays of {rows} rows; each needs the same, at least 1; {_CURE}."
        )
    return next(iter(rows.values()))


def check_outputs(outputs: Arrays, rows: int) -> None:
    """Raise TypeError or ValueError unless `predict` returned arrays with one entry per row."""
    _check_named("predict", outputs)
    for name, output in outputs.items():
        found = _rows("predict", name, output)
        if found != rows:
            raise ValueError(
                f"predict returned {found} rows of {name!r} for {rows} inputs; {_CURE}."
            )


def concatenate(parts: Sequence[Arrays]) -> Arrays:
    """Return the inputs of several requests as one, in order."""
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def cut(outputs: Arrays, counts: Sequence[int]) -> list[Arrays]:
    """Return each request's own part of the outputs; `counts` are the requests' rows in order."""
    ends = np.cumsum(counts).tolist()
    return [
        {name: output[end - count : end] for name, output in outputs.items()}
        for end, count in zip(ends, counts, strict=True)
    ]


def _check_named(method: str, arrays: Arrays) -> None:
    if not isinstance(arrays, Mapping):
        raise TypeError(f"{method} returned {type(arrays).__name__}, not arrays by name.")
    if not arrays and method == "decode":
        raise ValueError("decode returned no arrays.")


def _rows(method: str, name: str, array: NDArray[Any]) -> int:
    try:
        return len(array)
    except TypeError:
        raise TypeError(
            f"{method} returned {name!r} without rows (no len(): a single number); {_CURE}."
        ) from None
