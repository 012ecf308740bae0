"""ONNX Runtime on CPU."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from marloft.errors import DataError
from marloft.runtimes.naming import check_names
from marloft.runtimes.protocol import Arrays

# Element type of a graph → NumPy's name for it.
_DTYPES = {
    "float": "float32",
    "double": "float64",
    "string": "string",
    **{
        name: name
        for name in (
            *("bool", "float16", "int8", "int16", "int32", "int64"),
            *("uint8", "uint16", "uint32", "uint64"),
        )
    },
}
_TEXT_KINDS = "UO"


class _Input(NamedTuple):
    """What a graph says of one input; `shape` is empty when it says nothing of its axes."""

    dtype: str
    shape: tuple[int | str | None, ...]

    @property
    def words(self) -> str:
        if not self.shape:
            return self.dtype
        return f"{self.dtype}[{','.join('?' if a is None else str(a) for a in self.shape)}]"

    def takes(self, array: NDArray[Any]) -> bool:
        """Whether ONNX Runtime would run with this array."""
        if self.dtype == "string":
            fits = array.dtype.kind in _TEXT_KINDS
        else:
            fits = array.dtype == np.dtype(self.dtype)
        return fits and (not self.shape or self._fits(array.shape))

    def _fits(self, shape: tuple[int, ...]) -> bool:
        return len(shape) == len(self.shape) and all(
            not isinstance(wanted, int) or wanted == found
            for wanted, found in zip(self.shape, shape, strict=True)
        )


class OnnxRuntime:
    """An ONNX graph in an ONNX Runtime session whose threads belong to it alone."""

    def __init__(self, path: Path, threads: int) -> None:
        """Load the graph; `threads` bounds the threads used inside one operator.

        Raises:
            DataError: an input or output is no tensor of a type that NumPy has.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning threads take the CPU time that TorchServe's front end needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session: Any = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._name = path.name
        self._inputs = {
            each.name: _Input(_dtype(path, each), tuple(each.shape))
            for each in self._session.get_inputs()
        }
        self._words = {name: each.words for name, each in self._inputs.items()}
        for each in self._session.get_outputs():
            _dtype(path, each)
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Run the graph once on all that is given.

        Raises:
            DataError: an input is missing, unknown, or of another dtype or shape than the graph's.
        """
        check_names(self._name, inputs, self._words, set(self._words))
        arrays = {name: self._array(name, value) for name, value in inputs.items()}
        outputs = map(np.asarray, self._session.run(None, arrays))
        return dict(zip(self._outputs, outputs, strict=True))

    def _array(self, name: str, value: Any) -> Any:
        if not isinstance(value, np.ndarray | np.generic):
            return value  # a list: ONNX Runtime converts it
        array, wanted = np.asarray(value), self._inputs[name]
        if wanted.takes(array):
            return array
        shape = ",".join(map(str, array.shape))
        cure = "" if wanted.dtype == "string" else f", as with `.astype(np.{wanted.dtype})`"
        raise DataError(
            f"{name} is {array.dtype}[{shape}]; {self._name} takes it as {wanted.words}: give it "
            f"this dtype and shape in `decode`{cure}."
        )


def _dtype(path: Path, value: Any) -> str:
    """Return the dtype of an input or output; `value` is ONNX Runtime's description of it."""
    dtype = _DTYPES.get(value.type.removeprefix("tensor(").removesuffix(")"))
    if dtype is None or not value.type.startswith("tensor("):
        cure = (
            'for skl2onnx write `to_onnx(..., options={"zipmap": False})`'
            if value.type.startswith("seq(map(")
            else "cast or split it in the graph"
        )
        raise DataError(
            f"{path.name} has {value.name} of type {value.type}; inputs and outputs have to be "
            f"tensors of a type that NumPy has: {cure}."
        )
    return dtype
