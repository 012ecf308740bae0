"""The latency table: fair turns, percentiles of the right runs, and a page that is not stale."""

import itertools
from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from harness import factories
from marloft.contract.benchmark import BenchmarkResult, Machine
from marloft.files import read_json
from marloft.ranker import latency
from marloft.ranker.latency import LatencyRow, Variant
from marloft.runtimes import Arrays

RESULTS = sorted((factories.REPOSITORY / "benchmarks" / "results").glob("latency*.json"))
Turns = list[tuple[str, int, int]]
PAGE = factories.REPOSITORY / "docs" / "training.md"


class Clock:
    """Stands still until something takes time."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


class Runs:
    """Takes a known time on the clock and notes its turns."""

    def __init__(self, name: str, times_ms: Iterable[float], clock: Clock, turns: Turns) -> None:
        self.name, self.times_ms = name, itertools.cycle(times_ms)
        self.clock, self.turns = clock, turns

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        rows = inputs["item"]
        self.turns.append((self.name, int(rows[0]), len(rows)))
        self.clock.now += next(self.times_ms) / 1e3
        return {"score": np.zeros(len(rows), np.float32)}


def variant(loaded: Runs) -> Variant:
    return Variant(
        artifact=loaded.name, runtime="timed", loaded=loaded, size_bytes=2048, test_auc=0.75
    )


@pytest.fixture
def turns() -> Turns:
    return []


@pytest.fixture
def rows(turns: Turns, monkeypatch: pytest.MonkeyPatch) -> list[LatencyRow]:
    clock = Clock()
    monkeypatch.setattr(latency, "time", clock)
    monkeypatch.setattr(latency, "WARM_UP_RUNS", 2)
    slow = variant(Runs("slow", [1000, 1000, 3, 4, 5], clock, turns))
    fast = variant(Runs("fast", [1], clock, turns))
    return latency.measure([slow, fast], {"item": np.arange(100)}, {1: 3, 50: 4})


def test_times_are_those_of_each_variant_after_the_warm_up(rows: list[LatencyRow]) -> None:
    first = [(row.artifact, row.candidates, row.p50_ms, row.p99_ms, row.runs) for row in rows[:2]]
    p99 = float(np.percentile([3, 4, 5], 99))
    assert first == [("slow", 1, 4.0, pytest.approx(p99), 3), ("fast", 1, 1.0, 1.0, 3)]
    assert [(row.artifact, row.candidates, row.runs) for row in rows[2:]] == [
        ("slow", 50, 4),
        ("fast", 50, 4),
    ]


def test_variants_take_turns_on_the_same_rows(rows: list[LatencyRow], turns: Turns) -> None:
    rounds = [turns[i : i + 2] for i in range(0, len(turns), 2)]
    assert len(rounds) == (2 + 3) + (2 + 4)
    assert all({name for name, _, _ in pair} == {"slow", "fast"} for pair in rounds)
    assert all(pair[0][1:] == pair[1][1:] for pair in rounds)
    assert [pair[0][0] for pair in rounds[:4]] in (["slow", "fast"] * 2, ["fast", "slow"] * 2)
    assert {size for _, _, size in turns} == {1, 50}


def test_headline_compares_the_fastest_with_the_first(rows: list[LatencyRow]) -> None:
    fixed = [
        msgspec.structs.replace(row, p50_ms=4.0 if row.artifact == "slow" else 1.0) for row in rows
    ]
    assert latency.headline(fixed).startswith(
        "fast (timed) ranks 50 candidates in 1.000 ms, 4.0 times as fast as slow"
    )


def test_table_has_one_line_per_form(rows: list[LatencyRow]) -> None:
    machine = Machine(
        processor="A CPU",
        cores=2,
        system="Linux x86_64",
        python="3.11",
        libraries={"torch": "2.13.0"},
        load_average=0.0,
    )
    result = BenchmarkResult(
        machine=machine,
        date="2026-01-02T00:00:00",
        commit=None,
        command="c",
        rows=rows,
        headline="",
    )
    lines = latency.to_markdown(result).splitlines()
    assert lines[0] == "| form | 1: p50 / p99 ms | 50: p50 / p99 ms | KiB | test AUC |"
    assert [line.split(" | ")[0] for line in lines[2:4]] == ["| `slow`, timed", "| `fast`, timed"]
    assert lines[-1] == "`c`, 2026-01-02: A CPU, 2 cores, Linux x86_64, torch 2.13.0."


@pytest.mark.parametrize("result", RESULTS, ids=lambda path: path.stem)
def test_page_shows_the_committed_result(result: Path) -> None:
    table = latency.to_markdown(read_json(result, BenchmarkResult[LatencyRow]))
    assert table in PAGE.read_text()


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_committed_result_is_complete_and_its_headline_its_own(path: Path) -> None:
    result = read_json(path, BenchmarkResult[LatencyRow])
    artifacts = ("model.pt", "model.torchscript", "model.onnx", "model.int8.onnx")
    keys = [(row.candidates, row.artifact) for row in result.rows]
    assert keys == [(size, name) for size in latency.CANDIDATES for name in artifacts]
    assert result.headline == latency.headline(result.rows)
    assert result.commit is not None
