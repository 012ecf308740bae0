"""Measure what the prediction log costs a request: by policy, alone and in batches of 32.

    python benchmarks/log.py --out benchmarks/results/log.json
    python benchmarks/log.py --table benchmarks/results/log.json

The first form writes records of 50 candidates as a worker does, on the disk that holds the
repository; policies take turns, so that what else the machine does meets all alike. `before` is one
encoding and one write to a segment that never ends, the least there can be. The second prints the
documentation's table of a result.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct
from rich.console import Console

from marloft import files
from marloft.contract.benchmark import BenchmarkResult
from marloft.contract.policy import LogPolicy
from marloft.contract.records import PredictionRecord
from marloft.errors import reported
from marloft.serving.log import RecordLog
from marloft.serving.redaction import reduced
from marloft.training.provenance import describe_machine, describe_result

CANDIDATES = 50
ROUNDS = {1: 4000, 32: 600}
QUICK_ROUNDS = {1: 400, 32: 60}
WARM_UP_ROUNDS = 20
POLICIES = {
    "defaults": LogPolicy(),
    "fsync: batch": LogPolicy(fsync="batch"),
    "redact: [age]": LogPolicy(redact=["age"]),
    "features_share: 0.1": LogPolicy(features_share=0.1),
}
Write = Callable[[Sequence[PredictionRecord]], int]


class LogRow(Struct, frozen=True, kw_only=True):
    """One policy at one batch size; times are per request, `bytes` per record."""

    policy: str
    batch: int
    p50_us: float
    p99_us: float
    bytes: int
    rounds: int


def benchmark(rounds: dict[int, int]) -> list[LogRow]:
    """Return the rows, in a scratch folder of this repository's disk."""
    build = Path(__file__).parents[1] / "build"
    build.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=build, prefix="log-") as scratch, ExitStack() as stack:
        writers = _writers(Path(scratch), stack)
        return [row for batch, count in rounds.items() for row in _measure(writers, batch, count)]


def headline(rows: Sequence[LogRow]) -> str:
    """Say in a sentence what the defaults and fsync cost in batches of 32."""
    cost = {row.policy: row.p50_us for row in rows if row.batch == 32}
    return (
        f"In batches of 32 the log costs {cost['defaults']:.1f} µs a request, before it was "
        f"{cost['before']:.1f} µs; with fsync {cost['fsync: batch']:.1f} µs."
    )


def to_markdown(result: BenchmarkResult[LogRow]) -> str:
    """Return the table of the documentation, one line per policy, with machine and command."""
    batches = sorted({row.batch for row in result.rows})
    heads = [f"batch of {batch}: p50 / p99 µs" for batch in batches]
    lines = ["| policy | " + " | ".join(heads) + " | bytes |", "|---|" + "---:|" * 3]
    for policy in dict.fromkeys(row.policy for row in result.rows):
        found = {row.batch: row for row in result.rows if row.policy == policy}
        cells = [f"{found[batch].p50_us:.1f} / {found[batch].p99_us:.1f}" for batch in batches]
        lines.append(f"| {policy} | {' | '.join(cells)} | {found[batches[-1]].bytes:,} |")
    machine = result.machine
    where = f"{machine.processor}, {machine.cores} cores, load {machine.load_average}"
    return "\n".join([*lines, "", f"`{result.command}`, {result.date[:10]}: {where}."]) + "\n"


def _writers(folder: Path, stack: ExitStack) -> dict[str, Write]:
    file = os.open(folder / "before.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    stack.callback(os.close, file)
    encoder = msgspec.json.Encoder()

    def before(records: Sequence[PredictionRecord]) -> int:
        return os.write(file, encoder.encode_lines(records))

    writers: dict[str, Write] = {"before": before}
    for number, (name, policy) in enumerate(POLICIES.items()):
        log = RecordLog(folder / str(number), partial(_same, policy))
        stack.callback(log.close)
        writers[name] = partial(_write, log)
    return writers


def _same(policy: LogPolicy) -> LogPolicy:
    return policy


def _write(log: RecordLog, records: Sequence[PredictionRecord]) -> int:
    return log.append(reduced(records, log.policy))


def _measure(writers: dict[str, Write], batch: int, rounds: int) -> list[LogRow]:
    names = list(writers)
    spent_us = np.empty((len(names), rounds))
    sizes = dict.fromkeys(names, 0)
    for number in range(-WARM_UP_ROUNDS, rounds):
        records = [_record(f"{number}-{n}") for n in range(batch)]
        for turn in range(len(names)):
            which = (number + turn) % len(names)
            started = time.perf_counter()
            written = writers[names[which]](records)
            elapsed = time.perf_counter() - started
            if number >= 0:
                spent_us[which, number] = elapsed * 1e6 / batch
                sizes[names[which]] += written
    return [
        LogRow(
            policy=name,
            batch=batch,
            p50_us=round(float(np.percentile(spent, 50)), 2),
            p99_us=round(float(np.percentile(spent, 99)), 2),
            bytes=round(sizes[name] / (rounds * batch)),
            rounds=rounds,
        )
        for name, spent in zip(names, spent_us, strict=True)
    ]


def _record(request_id: str) -> PredictionRecord:
    rows = [{"item_id": 1000 + n, "age": 31, "context": "evening"} for n in range(CANDIDATES)]
    return PredictionRecord(
        time="2026-01-01T00:00:00.000+00:00",
        request_id=request_id,
        attempt=1,
        role="answer",
        status=200,
        user_id="7",
        model="ranker",
        version="1.0",
        intended_version="1.0",
        archive_sha256="0" * 64,
        release=1,
        experiment="feed_ab",
        arm="control",
        propensity=0.5,
        features=msgspec.Raw(msgspec.json.encode(rows)),
        prediction=[row["item_id"] for row in rows],
        scores=[round(0.9 - n / 100, 6) for n in range(CANDIDATES)],
        queue_ms=0.5,
        predict_ms=0.2,
        latency_ms=1.5,
        error=None,
        extra={"unknown_items": 0, "unknown_user": False},
    )


def main() -> None:
    """Parse the command line; exit 2 with one line for a user's mistake."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("build/benchmark/log.json"))
    parser.add_argument("--quick", action="store_true", help="a tenth of the rounds")
    parser.add_argument("--table", type=Path, metavar="FILE", help="print this result's table")
    options = parser.parse_args()
    with reported("error"):
        if options.table is not None:
            sys.stdout.write(to_markdown(files.read_json(options.table, BenchmarkResult[LogRow])))
            return
        machine = describe_machine(["msgspec", "xxhash"])
        rows = benchmark(QUICK_ROUNDS if options.quick else ROUNDS)
        result = describe_result(machine, Path(__file__), rows, headline(rows))
        files.write_json(options.out, result)
    Console().print(result.headline, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
