"""Train the ranker with FSDP2 on any number of processes.

    torchrun --nproc-per-node 2 training/train.py --config training/config.yaml
    python training/train.py --config training/config.yaml --set epochs=3

Writes into `out`: model.pt (weights of the best epoch by valid AUC), checkpoint/ (to go on with
--resume), metrics.jsonl (one line per epoch) and result.json (the test figures).
"""

import argparse
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import torch
from msgspec.structs import replace
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim import AdamW, Optimizer

from marloft import files
from marloft.errors import MarloftError
from marloft.ranker import metrics, prepare
from marloft.ranker.features import FeatureTables
from marloft.ranker.models import Ranker, load_ranker, score, table_sizes
from marloft.training import checkpoint, parallel, stream, track
from marloft.training.checkpoint import Progress
from marloft.training.config import TrainConfig, read_config
from marloft.training.parallel import Workers


def train(config: TrainConfig, *, resume: bool) -> None:
    """Train, keep the epoch with the best valid AUC, and test it once at the end."""
    started = time.perf_counter()
    data, out = Path(config.data.folder), Path(config.out)
    dataset = prepare.read_dataset(data)
    tables = FeatureTables.load(data / prepare.TABLES)

    with parallel.process_group(config.device) as workers:
        torch.manual_seed(config.seed)
        model = Ranker(config.model, table_sizes(tables)).to(workers.device)
        parallel.shard(model, workers)
        optimizer = AdamW(
            model.parameters(),
            lr=config.optimizer.learning_rate,
            weight_decay=config.optimizer.weight_decay,
            fused=True,
        )

        if resume:
            progress = checkpoint.resume(out / "checkpoint", model, optimizer, config)
        else:
            progress = start_anew(config, out, workers)
        log = open_log(out, workers, progress)

        train_rows = rows(config, tables, "train", workers)
        valid_rows = rows(config, tables, "valid", workers)
        for epoch in range(progress.epoch + 1, config.epochs + 1):
            epoch_started = time.perf_counter()
            loss = one_epoch(model, optimizer, train_rows, config, epoch, workers)
            seconds = time.perf_counter() - epoch_started
            valid_auc, valid_log_loss = evaluate(model, valid_rows)

            best = valid_auc > progress.best_valid_auc
            progress = replace(progress, epoch=epoch)
            if best:
                checkpoint.save_weights(out / "model.pt", model)
                progress = replace(
                    progress,
                    best_epoch=epoch,
                    best_valid_auc=valid_auc,
                    best_valid_log_loss=valid_log_loss,
                )
            if log:
                line = track.EpochMetrics(
                    epoch=epoch,
                    train_loss=loss,
                    valid_auc=valid_auc,
                    valid_log_loss=valid_log_loss,
                    seconds=seconds,
                )
                log.append(line)
                announce(line, config.epochs, best=best)
            checkpoint.save(out / "checkpoint", model, optimizer, progress)

        if workers.is_first:
            test(config, tables, progress, dataset.files, workers, started)


def one_epoch(
    model: Ranker,
    optimizer: Optimizer,
    train_rows: stream.Rows,
    config: TrainConfig,
    epoch: int,
    workers: Workers,
) -> float:
    """Take one pass over the training rows; return the mean loss per row."""
    model.train()
    total = torch.zeros((), device=workers.device)
    seed = (config.seed, epoch)
    for batch in train_rows.shuffled(seed, ("user", "item"), config.data.oov_rate):
        logits = model(**batch.inputs)
        loss = binary_cross_entropy_with_logits(logits, batch.labels, reduction="sum")
        # FSDP averages gradients over the processes; the mean wanted is over the step's rows.
        (loss * workers.world_size / batch.global_rows).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        total += loss.detach()
    return float(parallel.sum_over_workers(total)) / len(train_rows.labels)


def evaluate(model: Ranker, part: stream.Rows) -> tuple[float, float]:
    """Return AUC and log loss of the sharded model, the same in every process."""
    scores = 1 / (1 + np.exp(-stream.predict(model, part).astype(np.float64)))
    likes = part.labels.astype(np.int64)
    return metrics.auc(likes, scores), metrics.log_loss(likes, scores)


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
    scores: NDArray[np.float32] = score(load_ranker(out / "model.pt", config.model, tables), inputs)
    result = track.RunResult(
        valid_auc=progress.best_valid_auc,
        valid_log_loss=progress.best_valid_log_loss,
        test_auc=metrics.auc(likes, scores),
        test_log_loss=metrics.log_loss(likes, scores),
        world_size=workers.world_size,
        threads=workers.threads,
        seconds=time.perf_counter() - started,
        epochs=progress.epoch,
        best_epoch=progress.best_epoch,
        seed=config.seed,
        config=config,
        data=data_files,
        weights_sha256=files.sha256_file(out / "model.pt"),
    )
    files.write_json(out / "result.json", result)
    print(
        f"best epoch {result.best_epoch}: test AUC {result.test_auc:.4f}, "
        f"log loss {result.test_log_loss:.4f} ({result.world_size} process(es), "
        f"{result.seconds:.1f} s) -> {out / 'result.json'}",
        flush=True,
    )


def start_anew(config: TrainConfig, out: Path, workers: Workers) -> Progress:
    """Remove what an earlier run left, so that a run that fails leaves no old result behind."""
    if workers.is_first:
        shutil.rmtree(out / "checkpoint", ignore_errors=True)
        for name in ("model.pt", "result.json"):
            (out / name).unlink(missing_ok=True)
        (out / "checkpoint").mkdir(parents=True)
    return Progress(config=config)


def open_log(out: Path, workers: Workers, progress: Progress) -> track.MetricsLog | None:
    """Return the metrics log in the first process, None in the others."""
    if not workers.is_first:
        return None
    return track.MetricsLog(out / "metrics.jsonl", finished_epochs=progress.epoch)


def rows(config: TrainConfig, tables: FeatureTables, part: str, workers: Workers) -> stream.Rows:
    """Read and encode one part of the data."""
    inputs, likes = prepare.encode_part(Path(config.data.folder), config.data.split, part, tables)
    return stream.Rows(inputs, likes, batch_size=config.batch_size, workers=workers)


def announce(line: track.EpochMetrics, epochs: int, *, best: bool) -> None:
    """Print one epoch."""
    print(
        f"epoch {line.epoch:>3}/{epochs}  train loss {line.train_loss:.4f}  "
        f"valid AUC {line.valid_auc:.4f}  valid log loss {line.valid_log_loss:.4f}  "
        f"{line.seconds:.1f} s{'  best' if best else ''}",
        flush=True,
    )


def main() -> None:
    """Parse the command line; exit 2 with one line for a user's mistake."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--config", type=Path, default=Path("training/config.yaml"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    options = parser.parse_args()
    try:
        train(read_config(options.config, options.overrides), resume=options.resume)
    except MarloftError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
