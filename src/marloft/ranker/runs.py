"""A finished training run, loaded with the data it was trained on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marloft import files
from marloft.errors import DataError
from marloft.ranker import prepare
from marloft.ranker.features import FeatureTables
from marloft.ranker.models import Ranker, load_ranker
from marloft.training.checkpoint import RESULT, WEIGHTS
from marloft.training.track import RunResult


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """The result of a run, its feature tables, and its model in evaluation mode on the CPU."""

    result: RunResult
    tables: FeatureTables
    model: Ranker

    def part(self, name: str) -> tuple[Mapping[str, NDArray[Any]], NDArray[np.int64]]:
        """Return the encoded inputs and the likes of one part of the run's own split."""
        data = self.result.config.data
        return prepare.encode_part(Path(data.folder), data.split, name, self.tables)


def load_run(run: Path) -> TrainedRun:
    """Load a run's folder.

    Raises:
        DataError: the weights or the data are no longer those of the run's result.
    """
    result = files.read_json(run / RESULT, RunResult)
    data = Path(result.config.data.folder)
    if files.sha256_file(run / WEIGHTS) != result.weights_sha256:
        raise DataError(f"{run / WEIGHTS} is not the file that {RESULT} describes; train again.")
    if prepare.read_dataset(data).files != result.data:
        raise DataError(
            f"{data} was prepared again since {run} was trained on it; train again, so that no "
            "test row was a training row."
        )
    tables = FeatureTables.load(data / prepare.TABLES)
    model = load_ranker(run / WEIGHTS, result.config.model, tables)
    return TrainedRun(result=result, tables=tables, model=model)
