"""The base class of handlers: the user writes `load`, `decode`, `predict`, `encode`."""

import logging
import time
from typing import Any, ClassVar

from marloft.contract.answers import AnyAnswer
from marloft.runtimes import Arrays
from marloft.serving.batch_runner import BatchRunner
from marloft.serving.intake import Request
from marloft.serving.loaded_archive import LoadedArchive
from marloft.serving.rows import BatchBy

# No identifier, so that no attribute, method or class of the user's can have this name.
_RUNNER = "marloft.serving.batch_runner"
_READ_S = 0.5
_logger = logging.getLogger(__name__)


class Handler:
    """Derive from this in the archive's handler file; TorchServe finds the class by itself.

    `batch_by` says what is predicted at once: `"rows"`, the rows of all requests of a batch, or
    `"requests"`, each request alone, whose arrays may then have any shapes.
    """

    batch_by: ClassVar[BatchBy] = "rows"

    def load(self, archive: LoadedArchive) -> None:
        """Read what the archive holds; called once when the worker starts."""
        self.model = archive.load_model()

    def decode(self, request: Request) -> Arrays:
        """Turn one request into model inputs, each array with one entry per row.

        With `batch_by = "requests"` the arrays may have any shapes.
        Raise `Rejected` to refuse this request with a 422 and a place.
        """
        raise NotImplementedError

    def predict(self, inputs: Arrays) -> Arrays:
        """Run the model on the rows of all requests of a batch at once, or on one request."""
        return self.model.run(inputs)

    def encode(self, request: Request, outputs: Arrays) -> AnyAnswer:
        """Turn one request's part of the outputs into its answer, of the type that is declared.

        With `batch_by = "requests"` the outputs are those of this request alone, whole.
        """
        raise NotImplementedError

    def initialize(self, context: Any) -> None:
        """Load the archive and answer its golden requests; TorchServe calls it once."""
        try:
            runner = BatchRunner(self, context)
            runner.start()
        except BaseException as error:
            _report(error)
            raise
        vars(self)[_RUNNER] = runner

    def handle(self, data: list[dict[str, Any]], context: Any) -> list[bytes]:
        """Answer one batch; TorchServe calls it for each."""
        return runner_of(self).run(data, context)


def runner_of(handler: Handler) -> BatchRunner:
    """Return what runs the batches of an initialized handler."""
    runner: BatchRunner = vars(handler)[_RUNNER]
    return runner


def _report(error: BaseException) -> None:
    """Log why loading failed, `sys.exit` included, which leaves no traceback by itself.

    TorchServe stops reading a worker's output at the moment in which it learns of the failure, so
    it gets the time to read this before.
    """
    _logger.error("The handler failed to load.", exc_info=error)
    time.sleep(_READ_S)
