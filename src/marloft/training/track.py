"""What a run leaves to be read: `metrics.jsonl` (one line per epoch) and `result.json`."""

from pathlib import Path

import msgspec
from msgspec import Struct

from marloft import files
from marloft.training.config import DistilConfig, TrainConfig
from marloft.training.memory import MemoryKind


class EpochMetrics(Struct, frozen=True, kw_only=True):
    """One line of `metrics.jsonl`.

    `train_loss` is the mean log loss in nats over the epoch's rows while the weights move;
    `valid_accuracy` is the share of rows whose score falls on the right side of 0.5; `memory_mib`
    is that of the process that uses most, and `memory_kind` says what it counts; `seconds` is the
    epoch's time without evaluation, since the resume in an epoch that was resumed.
    """

    epoch: int
    train_loss: float
    valid_auc: float
    valid_accuracy: float
    valid_log_loss: float
    memory_mib: float
    memory_kind: MemoryKind
    seconds: float


class RunResult(Struct, frozen=True, kw_only=True):
    """`result.json`: the run's figures for the weights in `model.pt`, and what it depended on.

    `seconds` runs from the start of the script's work to the end of the test; `data` maps each
    file of the data set to its SHA-256.
    """

    valid_auc: float
    valid_log_loss: float
    test_auc: float
    test_accuracy: float
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


class DistilResult(Struct, frozen=True, kw_only=True):
    """`result.json` of a distillation: the student against its teacher on the same test part."""

    valid_auc: float
    test_auc: float
    test_log_loss: float
    teacher_test_auc: float
    teacher_test_log_loss: float
    parameters: int
    teacher_parameters: int
    best_epoch: int
    seconds: float
    config: DistilConfig
    weights_sha256: str
    teacher_weights_sha256: str


class MetricsLog:
    """A JSONL file of epochs; written by one process."""

    def __init__(self, path: Path, *, finished_epochs: int) -> None:
        """Keep the lines of epochs up to `finished_epochs` (0 keeps none), drop later ones.

        A run that was killed between its log line and its checkpoint repeats that epoch.
        """
        self._path = path
        # A new run does not read the old log, which another release may have written.
        old = read_metrics(path) if finished_epochs else []
        kept = [m for m in old if m.epoch <= finished_epochs]
        files.write_atomic(path, b"".join(_line(metrics) for metrics in kept))

    def append(self, metrics: EpochMetrics) -> None:
        """Add one epoch's line."""
        with self._path.open("ab") as stream:
            stream.write(_line(metrics))


def describe(line: EpochMetrics, epochs: int, *, best: bool) -> str:
    """Return an epoch in one line for people."""
    return (
        f"epoch {line.epoch:>3}/{epochs}  train loss {line.train_loss:.4f}  "
        f"valid AUC {line.valid_auc:.4f}  accuracy {line.valid_accuracy:.4f}  "
        f"log loss {line.valid_log_loss:.4f}  {line.memory_mib:,.0f} MiB  "
        f"{line.seconds:.1f} s{'  best' if best else ''}"
    )


def read_metrics(path: Path) -> list[EpochMetrics]:
    """Read the epochs of `metrics.jsonl`, none if there is no such file."""
    if not path.exists():
        return []
    lines = path.read_bytes().splitlines()
    return [files.parse_json(line, EpochMetrics, str(path)) for line in lines]


def _line(metrics: EpochMetrics) -> bytes:
    return msgspec.json.encode(metrics) + b"\n"
