"""Train the ranker with FSDP2 on any number of processes.

    torchrun --nproc-per-node 2 training/train.py --config training/config.yaml
    python training/train.py --config training/config.yaml --set epochs=3

Writes into `out`: model.pt (weights of the best epoch by valid AUC), checkpoint/ (to continue with
--resume), metrics.jsonl (one line per epoch) and result.json (the test figures).
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from msgspec.structs import replace
from torch.amp import GradScaler
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim import AdamW, Optimizer

from marloft import files
from marloft.errors import reported
from marloft.ranker import metrics, prepare
from marloft.ranker.features import FeatureTables
from marloft.ranker.models import Ranker, evaluate, load_ranker, score, table_sizes
from marloft.training import checkpoint, memory, parallel, stop, stream, track
from marloft.training.checkpoint import CHECKPOINTS, RESULT, WEIGHTS, Progress
from marloft.training.config import TrainConfig, read_config
from marloft.training.parallel import Workers


@dataclass(frozen=True, kw_only=True)
class Learner:
    """What learns: the sharded model, its optimizer, and the scaler of fp16's loss."""

    model: Ranker
    optimizer: Optimizer
    scaler: GradScaler


def train(config: TrainConfig, *, resume: bool) -> None:
    """Train, keep the epoch with the best valid AUC, and test it once at the end."""
    started = time.perf_counter()
    data, out = Path(config.data.folder), Path(config.out)
    dataset = prepare.read_dataset(data)
    tables = FeatureTables.load(data / prepare.TABLES)

    with parallel.process_group(config.device) as workers:
        learner = build(config, tables, workers)
        progress = go_on(config, learner) if resume else checkpoint.start_anew(out, config)
        log = open_log(out, workers, progress)
        train_rows = rows(config, tables, "train", workers)
        valid_rows = rows(config, tables, "valid", workers)

        while progress.epoch < config.epochs:
            if stop.is_over(progress.plateau, config.early_stopping):
                break
            memory.start_measuring(workers)
            epoch_started = time.perf_counter()
            loss = one_epoch(learner, train_rows, progress, config, workers)
            seconds = time.perf_counter() - epoch_started
            memory_mib, memory_kind = memory.measure(workers)

            valid = evaluate(learner.model, valid_rows)
            best = valid.auc > progress.best_valid_auc
            if best:
                checkpoint.save_weights(out / WEIGHTS, learner.model)
            progress = end_epoch(progress, valid, learner, best=best)
            if log:
                line = track.EpochMetrics(
                    epoch=progress.epoch,
                    train_loss=loss,
                    valid_auc=valid.auc,
                    valid_accuracy=valid.accuracy,
                    valid_log_loss=valid.log_loss,
                    memory_mib=memory_mib,
                    memory_kind=memory_kind,
                    seconds=seconds,
                )
                log.append(line)
                print(track.describe(line, config.epochs, best=best), flush=True)
            checkpoint.save(out / CHECKPOINTS, learner.model, learner.optimizer, progress)

        if workers.is_first:
            test(config, tables, progress, dataset.files, workers, started)


def build(config: TrainConfig, tables: FeatureTables, workers: Workers) -> Learner:
    """Make the model, shard it, and give it an optimizer."""
    torch.manual_seed(config.seed)
    model = Ranker(config.model, table_sizes(tables)).to(workers.device)
    if config.activation_checkpointing:
        parallel.recompute_activations(model)
    parallel.shard(model, workers, config.precision)
    optimizer = AdamW(
        model.parameters(),
        lr=config.optimizer.learning_rate,
        weight_decay=config.optimizer.weight_decay,
        fused=True,
    )
    scaler = parallel.gradient_scaler(config.precision, workers.device)
    return Learner(model=model, optimizer=optimizer, scaler=scaler)


def one_epoch(
    learner: Learner,
    train_rows: stream.TrainingRows,
    progress: Progress,
    config: TrainConfig,
    workers: Workers,
) -> float:
    """Take the next pass over the training rows, or its rest; return the mean loss per row."""
    learner.model.train()
    total = torch.zeros((), dtype=torch.float64, device=workers.device)
    total += progress.loss_sum if workers.is_first else 0.0
    step = progress.step
    seed, masked = (config.seed, progress.epoch + 1), ("user", "item")
    for batch in train_rows.shuffled(seed, masked, config.data.oov_rate, skip_steps=step):
        parallel.send_gradients(learner.model, now=batch.ends_step)
        logits = learner.model(**batch.inputs)
        loss = binary_cross_entropy_with_logits(logits, batch.labels, reduction="sum")
        total += loss.detach()
        # FSDP averages gradients over the processes; the mean wanted is over the step's rows.
        learner.scaler.scale(loss * workers.world_size / batch.step_rows).backward()  # type: ignore[no-untyped-call]
        if not batch.ends_step:
            continue
        learner.scaler.step(learner.optimizer)
        learner.scaler.update()
        learner.optimizer.zero_grad()
        step += 1
        if config.checkpoint_every_steps and step % config.checkpoint_every_steps == 0:
            loss_sum = float(parallel.sum_over_workers(total))
            save_within_epoch(learner, replace(progress, step=step, loss_sum=loss_sum))
    return float(parallel.sum_over_workers(total)) / len(train_rows.labels)


def save_within_epoch(learner: Learner, progress: Progress) -> None:
    """Save the run so that it can be resumed in the middle of an epoch."""
    progress = replace(progress, loss_scale=learner.scaler.state_dict())
    folder = Path(progress.config.out) / CHECKPOINTS
    checkpoint.save(folder, learner.model, learner.optimizer, progress)


def end_epoch(
    progress: Progress, valid: metrics.Quality, learner: Learner, *, best: bool
) -> Progress:
    """Return the progress after one more epoch."""
    progress = replace(
        progress,
        epoch=progress.epoch + 1,
        step=0,
        loss_sum=0.0,
        loss_scale=learner.scaler.state_dict(),
        plateau=stop.observe(progress.plateau, valid.auc, progress.config.early_stopping),
    )
    if not best:
        return progress
    return replace(
        progress,
        best_epoch=progress.epoch,
        best_valid_auc=valid.auc,
        best_valid_log_loss=valid.log_loss,
    )


def test(
    config: TrainConfig,
    tables: FeatureTables,
    progress: Progress,
    data_files: dict[str, str],
    workers: Workers,
    started: float,
) -> None:
    """Score the test part with the weights on disk, in one process, and write result.json."""
    out = Path(config.out)
    inputs, likes = prepare.encode_part(Path(config.data.folder), config.data.split, "test", tables)
    found = metrics.quality(likes, score(load_ranker(out / WEIGHTS, config.model, tables), inputs))
    result = track.RunResult(
        valid_auc=progress.best_valid_auc,
        valid_log_loss=progress.best_valid_log_loss,
        test_auc=found.auc,
        test_accuracy=found.accuracy,
        test_log_loss=found.log_loss,
        world_size=workers.world_size,
        threads=workers.threads,
        seconds=time.perf_counter() - started,
        epochs=progress.epoch,
        best_epoch=progress.best_epoch,
        seed=config.seed,
        config=config,
        data=data_files,
        weights_sha256=files.sha256_file(out / WEIGHTS),
    )
    files.write_json(out / RESULT, result)
    print(
        f"best epoch {result.best_epoch} of {result.epochs}: test AUC {result.test_auc:.4f}, "
        f"log loss {result.test_log_loss:.4f} ({result.world_size} process(es), "
        f"{result.seconds:.1f} s) -> {out / RESULT}",
        flush=True,
    )


def go_on(config: TrainConfig, learner: Learner) -> Progress:
    """Load the newest checkpoint; training continues where it was saved."""
    folder = Path(config.out) / CHECKPOINTS
    progress = checkpoint.resume(folder, learner.model, learner.optimizer, config)
    learner.scaler.load_state_dict(progress.loss_scale)
    return progress


def open_log(out: Path, workers: Workers, progress: Progress) -> track.MetricsLog | None:
    """Return the metrics log in the first process, None in the others."""
    if not workers.is_first:
        return None
    return track.MetricsLog(out / "metrics.jsonl", finished_epochs=progress.epoch)


def rows(
    config: TrainConfig, tables: FeatureTables, part: str, workers: Workers
) -> stream.TrainingRows:
    """Read and encode one part of the data."""
    inputs, likes = prepare.encode_part(Path(config.data.folder), config.data.split, part, tables)
    return stream.TrainingRows(
        inputs,
        likes,
        batch_size=config.batch_size,
        workers=workers,
        accumulation_steps=config.accumulation_steps,
    )


def main() -> None:
    """Parse the command line; exit 2 with one line for a user's mistake."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--config", type=Path, default=Path("training/config.yaml"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--resume", action="store_true", help="continue from the last checkpoint")
    options = parser.parse_args()
    with reported("error"):
        train(read_config(options.config, options.overrides), resume=options.resume)


if __name__ == "__main__":
    main()
    parallel.end_process()
