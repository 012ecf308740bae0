"""TorchScript on CPU."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from marloft.runtimes.protocol import Arrays


class TorchScriptRuntime:
    """A TorchScript module that takes its inputs by name and returns one tensor, `score`."""

    def __init__(self, path: Path, threads: int) -> None:
        """Load the module; the thread count is the process's own, as torch has no other."""
        torch.set_num_threads(threads)
        with warnings.catch_warnings():
            # Deprecated upstream, and still the way to run a TorchScript file.
            warnings.filterwarnings(
                "ignore", r"`torch\.jit\.load` is deprecated", DeprecationWarning
            )
            self._module: Any = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
        self._module.eval()

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Run the module once on all rows."""
        tensors = {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in inputs.items()}
        with torch.inference_mode():
            return {"score": self._module(**tensors).numpy()}
