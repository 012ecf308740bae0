"""ONNX Runtime on CPU."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from marloft.runtimes.protocol import Arrays


class OnnxRuntime:
    """An ONNX graph in an ONNX Runtime session whose threads belong to it alone."""

    def __init__(self, path: Path, threads: int) -> None:
        """Load the graph; `threads` bounds the threads used inside one operator."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Spinning threads take the CPU time that TorchServe's front end needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session: Any = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Run the graph once on all rows."""
        return dict(zip(self._outputs, self._session.run(None, dict(inputs)), strict=True))
