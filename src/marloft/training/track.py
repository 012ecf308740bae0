"""What a run leaves to be read: `metrics.jsonl` (one line per epoch) and `result.json`."""

from pathlib import Path

import msgspec
from msgspec import Struct

from marloft import files
from marloft.training.config import TrainConfig


class EpochMetrics(Struct, frozen=True, kw_only=True):
    """One line of `metrics.jsonl`.

    `train_loss` is the mean log loss in nats over the epoch's rows while the weights move;
    `seconds` is the epoch's time without evaluation.
    """

    epoch: int
    train_loss: float
    valid_auc: float
    valid_log_loss: float
    seconds: float


class RunResult(Struct, frozen=True, kw_only=True):
    """`result.json`: the run's figures for the weights in `model.pt`, and what it depended on.

    `seconds` runs from the start of the script's work to the end of the test; `data` maps each
    file of the data set to its SHA-256.
    """

    valid_auc: float
    valid_log_loss: float
    test_auc: float
    test_log_loss: float
    world_size: int
    threads: int
    seconds: float
    epochs: int
    best_epoch: int
    seed: int
    config: TrainConfig
    data: dict[str, str]
    weights_sha256: str


class MetricsLog:
    """A JSONL file of epochs; written by one process."""

    def __init__(self, path: Path, *, finished_epochs: int) -> None:
        """Keep the lines of epochs up to `finished_epochs` (0 starts anew), drop later ones.

        A run that was killed between its log line and its checkpoint repeats that epoch.
        """
        self._path = path
        kept = [m for m in read_metrics(path) if m.epoch <= finished_epochs]
        files.write_atomic(path, b"".join(_line(metrics) for metrics in kept))

    def append(self, metrics: EpochMetrics) -> None:
        """Add one epoch's line."""
        with self._path.open("ab") as stream:
            stream.write(_line(metrics))


def read_metrics(path: Path) -> list[EpochMetrics]:
    """Read the epochs of `metrics.jsonl`, none if there is no such file."""
    if not path.exists():
        return []
    lines = path.read_bytes().splitlines()
    return [files.parse_json(line, EpochMetrics, str(path)) for line in lines]


def _line(metrics: EpochMetrics) -> bytes:
    return msgspec.json.encode(metrics) + b"\n"
