"""What every runtime offers: named NumPy arrays in, named NumPy arrays out."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]


class Runtime(Protocol):
    """A loaded model. Every array's first axis is the row axis, and rows are independent."""

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Return the model's outputs, each with as many rows as the inputs."""
        ...
