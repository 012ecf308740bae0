"""What every runtime offers: named NumPy arrays in, named NumPy arrays out."""

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


class Runtime(Protocol):
    """A loaded model, which runs whatever shapes it was exported for.

    Where a handler is run by rows (`Handler.batch_by`), the first axis of every array is the row
    axis, and rows are independent.
    """

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Return the model's outputs by name, each of its own dtype.

        Raises:
            DataError: the inputs are not those that the model takes.
        """
        ...
