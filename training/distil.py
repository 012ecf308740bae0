"""Distil a trained ranker into a student of half its size.

    python training/distil.py --config training/distil.yaml
    python training/distil.py --set soft_weight=0 --set out=build/no_teacher

The student learns from the teacher's scores mixed with the labels: its target for a row is
`soft_weight * score + (1 - soft_weight) * label`. Cross-entropy is linear in its target, so this is
the weighted sum of both losses of Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural
Network, arXiv:1503.02531, at temperature 1.

Writes student.pt and result.json into `out`, and student.onnx with its sidecar into `export`. An
export that differs from the student by more than 1e-4 ends with exit code 2.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim import AdamW

from marloft import files
from marloft.errors import reported
from marloft.ranker import export, metrics, prepare
from marloft.ranker.models import Ranker, evaluate, load_ranker, score, table_sizes
from marloft.ranker.runs import TrainedRun, load_run
from marloft.training import checkpoint, parallel
from marloft.training.checkpoint import RESULT, WEIGHTS
from marloft.training.config import DistilConfig, read_distil_config
from marloft.training.parallel import Workers
from marloft.training.stream import TrainingRows
from marloft.training.track import DistilResult

STUDENT_WEIGHTS = "student.pt"
STUDENT_ONNX = "student.onnx"


def distil(config: DistilConfig) -> None:
    """Train the student, keep its best epoch by valid AUC, compare it, and export it."""
    started = time.perf_counter()
    teacher = load_run(Path(config.teacher))
    weights = Path(config.out) / STUDENT_WEIGHTS

    with parallel.process_group("cpu") as workers:
        best_epoch, valid = train_student(config, teacher, weights, workers)
        if not workers.is_first:
            return

    student = load_ranker(weights, config.student, teacher.tables)
    inputs, likes = teacher.part("test")
    of_student = metrics.quality(likes, score(student, inputs))
    of_teacher = metrics.quality(likes, score(teacher.model, inputs))
    result = DistilResult(
        valid_auc=valid.auc,
        test_auc=of_student.auc,
        test_log_loss=of_student.log_loss,
        teacher_test_auc=of_teacher.auc,
        teacher_test_log_loss=of_teacher.log_loss,
        parameters=parameters(student),
        teacher_parameters=parameters(teacher.model),
        best_epoch=best_epoch,
        seconds=time.perf_counter() - started,
        config=config,
        weights_sha256=files.sha256_file(weights),
        teacher_weights_sha256=teacher.result.weights_sha256,
    )
    export_student(student, teacher, result)
    files.write_json(Path(config.out) / RESULT, result)
    announce(result)


def train_student(
    config: DistilConfig, teacher: TrainedRun, weights: Path, workers: Workers
) -> tuple[int, metrics.Quality]:
    """Write the weights of the best epoch; return its number and its figures on the valid part."""
    torch.manual_seed(config.seed)
    student = Ranker(config.student, table_sizes(teacher.tables))
    parallel.shard(student, workers)
    optimizer = AdamW(
        student.parameters(),
        lr=config.optimizer.learning_rate,
        weight_decay=config.optimizer.weight_decay,
        fused=True,
    )
    train_rows = soft_rows(config, teacher, workers)
    valid_rows = TrainingRows(*teacher.part("valid"), batch_size=config.batch_size, workers=workers)
    oov_rate = teacher.result.config.data.oov_rate

    best_epoch, best = 0, metrics.Quality(auc=0.0, accuracy=0.0, log_loss=0.0)
    for epoch in range(1, config.epochs + 1):
        student.train()
        for batch in train_rows.shuffled((config.seed, epoch), ("user", "item"), oov_rate):
            logits = student(**batch.inputs)
            loss = binary_cross_entropy_with_logits(logits, batch.labels, reduction="sum")
            # FSDP averages gradients over the processes; the mean wanted is over the step's rows.
            (loss * workers.world_size / batch.step_rows).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()
        valid = evaluate(student, valid_rows)
        if valid.auc > best.auc:
            best_epoch, best = epoch, valid
            checkpoint.save_weights(weights, student)
    return best_epoch, best


def soft_rows(config: DistilConfig, teacher: TrainedRun, workers: Workers) -> TrainingRows:
    """Return the training rows with the student's targets in place of the labels."""
    inputs, likes = teacher.part("train")
    targets = config.soft_weight * score(teacher.model, inputs) + (1 - config.soft_weight) * likes
    return TrainingRows(inputs, targets, batch_size=config.batch_size, workers=workers)


def export_student(student: Ranker, teacher: TrainedRun, result: DistilResult) -> None:
    """Write student.onnx with its sidecar once it answers as the student does."""
    inputs, likes = teacher.part("test")
    folder = Path(result.config.export)
    with tempfile.TemporaryDirectory(prefix="marloft-distil-") as scratch:
        path = Path(scratch) / STUDENT_ONNX
        export.write_onnx(student, path)
        parents = {
            STUDENT_WEIGHTS: result.weights_sha256,
            WEIGHTS: result.teacher_weights_sha256,
            prepare.TABLES: teacher.result.data[prepare.TABLES],
        }
        sidecar = export.describe(path, "onnx", inputs, score(student, inputs), likes, parents)
        sidecar.metrics["teacher_test_auc"] = result.teacher_test_auc
        files.write_atomic(folder / STUDENT_ONNX, path.read_bytes())
        files.write_json(files.sidecar_path(folder / STUDENT_ONNX), sidecar)


def parameters(model: nn.Module) -> int:
    """Return how many numbers a model has learned."""
    return sum(parameter.numel() for parameter in model.parameters())


def announce(result: DistilResult) -> None:
    """Print the student and its teacher."""
    print(
        f"student {result.parameters:,} parameters, test AUC {result.test_auc:.4f}, log loss "
        f"{result.test_log_loss:.4f}; teacher {result.teacher_parameters:,}, "
        f"{result.teacher_test_auc:.4f}, {result.teacher_test_log_loss:.4f} "
        f"(best epoch {result.best_epoch}, {result.seconds:.1f} s) "
        f"-> {Path(result.config.export) / STUDENT_ONNX}",
        flush=True,
    )


def main() -> None:
    """Parse the command line; exit 2 with one line for a user's mistake."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--config", type=Path, default=Path("training/distil.yaml"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    options = parser.parse_args()
    with reported("error"):
        distil(read_distil_config(options.config, options.overrides))


if __name__ == "__main__":
    main()
