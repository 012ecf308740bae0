"""TorchScript on CPU."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from marloft.errors import DataError
from marloft.runtimes.naming import check_names, named_outputs
from marloft.runtimes.protocol import Arrays

# Argument type → the kinds of NumPy dtypes that it takes; a number is an array of one element.
_KINDS = {"Tensor": "biufc", "Optional[Tensor]": "biufc", "int": "iu", "float": "iuf", "bool": "b"}


class TorchScriptRuntime:
    """A TorchScript module: inputs by the names of its arguments, outputs by `named_outputs`."""

    def __init__(self, path: Path, threads: int) -> None:
        """Load the module; the thread count is the process's own, as torch has no other.

        Raises:
            DataError: it has no `forward`, or one with an argument that no array can be given for.
        """
        torch.set_num_threads(threads)
        with warnings.catch_warnings():
            # Deprecated upstream, and still the way to run a TorchScript file.
            warnings.filterwarnings(
                "ignore", r"`torch\.jit\.load` is deprecated", DeprecationWarning
            )
            self._module: Any = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
        self._module.eval()
        self._name = path.name
        if not hasattr(self._module, "forward"):
            raise DataError(f"{path.name} has no method `forward`; write the module with one.")
        arguments = self._module.forward.schema.arguments[1:]
        self._needs = {each.name for each in arguments if not each.has_default_value()}
        self._takes = {
            each.name: str(each.type)
            for each in arguments
            if str(each.type) in _KINDS or each.name in self._needs
        }
        for name, kind in self._takes.items():
            if kind not in _KINDS:
                raise DataError(
                    f"{path.name} takes {name} as {kind}; an input has to be one of "
                    f"{', '.join(_KINDS)}: change forward's arguments."
                )

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Run the module once on all that is given.

        Raises:
            DataError: an input is missing, unknown or of a kind that torch has not, or the module
                answers something else than tensors.
        """
        check_names(self._name, inputs, self._takes, self._needs)
        tensors = {name: self._tensor(name, array) for name, array in inputs.items()}
        with torch.inference_mode():
            outputs = named_outputs(self._module(**tensors), torch.Tensor)
        return {name: to_array(output) for name, output in outputs.items()}

    def _tensor(self, name: str, array: NDArray[Any]) -> torch.Tensor:
        # Not ascontiguousarray, which gives a scalar an axis; a read-only array is copied.
        ready = np.require(array, requirements=("C", "W"))
        kind = self._takes[name]
        if ready.dtype.kind not in _KINDS[kind]:
            raise DataError(
                f"{name} is {ready.dtype}; {self._name} takes it as {kind}, from an array of "
                "numbers or bool: convert it in `decode`, as with `.astype(np.int64)`."
            )
        return torch.from_numpy(ready)


def to_array(tensor: torch.Tensor) -> NDArray[Any]:
    """Return a tensor as an array of its own dtype; bfloat16, which NumPy lacks, as float32."""
    plain = tensor.detach().cpu()
    array: NDArray[Any] = (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()
    return array
