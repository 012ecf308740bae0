"""How long each form of the ranker takes, measured side by side: the latency table."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from msgspec import Struct
from numpy.typing import NDArray

from marloft.contract.benchmark import BenchmarkResult
from marloft.ranker.models import Ranker, Scorer
from marloft.runtimes import Arrays, Runtime

CANDIDATES = (1, 50, 500)
WARM_UP_RUNS = 100


class LatencyRow(Struct, frozen=True, kw_only=True):
    """One form at one number of candidates a run, on one thread.

    Times are from NumPy arrays in to a NumPy array out; `runs` is how many were timed.
    """

    artifact: str
    runtime: str
    candidates: int
    p50_ms: float
    p99_ms: float
    runs: int
    size_bytes: int
    test_auc: float


class Variant(Struct, frozen=True, kw_only=True):
    """One form of the ranker, loaded and ready to run."""

    artifact: str
    runtime: str
    loaded: Runtime
    size_bytes: int
    test_auc: float


class EagerRuntime:
    """The source model in eager PyTorch, behind the interface of the runtimes."""

    def __init__(self, model: Ranker) -> None:
        """Take a model in evaluation mode; torch is set to one thread, for the whole process."""
        torch.set_num_threads(1)
        self._scorer = Scorer(model).eval()

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Run the model once on all rows."""
        tensors = {name: torch.from_numpy(np.ascontiguousarray(a)) for name, a in inputs.items()}
        with torch.inference_mode():
            return {"score": self._scorer(**tensors).numpy()}


def measure(
    variants: Sequence[Variant], inputs: Mapping[str, NDArray[Any]], runs: Mapping[int, int]
) -> list[LatencyRow]:
    """Time every variant on the same rows, interleaved.

    Each round runs every variant once on rows of its own, starting with a different one each time,
    so that other load on the machine affects all equally.

    Args:
        variants: what to measure.
        inputs: what `features.encode` returned, at least as many rows as the most candidates.
        runs: number of candidates → number of rounds.
    """
    rows = []
    for candidates, rounds in runs.items():
        spent_ms = _time_rounds([v.loaded for v in variants], inputs, candidates, rounds)
        for variant, times in zip(variants, spent_ms, strict=True):
            p50, p99 = np.percentile(times, [50, 99])
            rows.append(
                LatencyRow(
                    artifact=variant.artifact,
                    runtime=variant.runtime,
                    candidates=candidates,
                    p50_ms=round(float(p50), 4),
                    p99_ms=round(float(p99), 4),
                    runs=rounds,
                    size_bytes=variant.size_bytes,
                    test_auc=round(variant.test_auc, 5),
                )
            )
    return rows


def headline(rows: Sequence[LatencyRow]) -> str:
    """Say in a sentence what the fastest form wins over the first one, at 50 candidates."""
    fifty = [row for row in rows if row.candidates == 50]
    base, best = fifty[0], min(fifty, key=lambda row: row.p50_ms)
    return (
        f"{best.artifact} ({best.runtime}) ranks 50 candidates in {best.p50_ms:.3f} ms, "
        f"{base.p50_ms / best.p50_ms:.1f} times as fast as {base.artifact} ({base.runtime}, "
        f"{base.p50_ms:.3f} ms), {best.size_bytes / base.size_bytes:.2f} of its size, test AUC "
        f"{best.test_auc:.4f} against {base.test_auc:.4f}."
    )


def to_markdown(result: BenchmarkResult[LatencyRow]) -> str:
    """Return the table of the documentation, one line per form, with machine and command."""
    sizes = sorted({row.candidates for row in result.rows})
    heads = ["form", *(f"{n}: p50 / p99 ms" for n in sizes), "KiB", "test AUC"]
    lines = ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
    for artifact in dict.fromkeys(row.artifact for row in result.rows):
        found = {row.candidates: row for row in result.rows if row.artifact == artifact}
        one = found[sizes[0]]
        times = [f"{found[n].p50_ms:.3f} / {found[n].p99_ms:.3f}" for n in sizes]
        cells = [f"`{artifact}`, {one.runtime}", *times]
        cells += [f"{one.size_bytes / 1024:,.0f}", f"{one.test_auc:.4f}"]
        lines.append("| " + " | ".join(cells) + " |")
    machine = result.machine
    libraries = ", ".join(f"{name} {version}" for name, version in machine.libraries.items())
    where = f"{machine.processor}, {machine.cores} cores, {machine.system}, {libraries}"
    return "\n".join([*lines, "", f"`{result.command}`, {result.date[:10]}: {where}."]) + "\n"


def _time_rounds(
    runtimes: Sequence[Runtime], inputs: Mapping[str, NDArray[Any]], candidates: int, rounds: int
) -> NDArray[np.float64]:
    """Return the times in ms, float64[variant, round]."""
    total = len(next(iter(inputs.values())))
    spent = np.empty((len(runtimes), rounds))
    for number in range(-WARM_UP_RUNS, rounds):
        first = (number * candidates) % (total - candidates + 1)
        part = {name: rows[first : first + candidates] for name, rows in inputs.items()}
        for turn in range(len(runtimes)):
            which = (number + turn) % len(runtimes)
            started = time.perf_counter()
            runtimes[which].run(part)
            elapsed = time.perf_counter() - started
            if number >= 0:
                spent[which, number] = elapsed * 1e3
    return spent
