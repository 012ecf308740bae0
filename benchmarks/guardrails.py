"""Simulate roll-outs through the guardrails' own decision function: false alarms and delays.

    python -m benchmarks.guardrails
    python -m benchmarks.guardrails --table benchmarks/results/guardrails.json

The first form draws roll-outs of versions that are as good as control and of planted bad ones, one
look a second, and writes how many are rolled back and after how long. The second prints the
documentation's table of a result.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from harness.simulated_rollouts import WORLDS, SimulatedRollouts, simulate
from marloft import files
from marloft.contract.benchmark import BenchmarkResult
from marloft.errors import reported
from marloft.training.provenance import describe_machine, describe_result

RUNS, QUICK_RUNS = 1000, 100


def to_markdown(result: BenchmarkResult[SimulatedRollouts]) -> str:
    """Return the table of the documentation, with the command that made it."""
    heads = ["new version, at 20 % unless said", "runs", "rolled back", "median", "95 % by"]
    lines = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    for row in result.rows:
        cells = [row.world, f"{row.runs:,}", f"{row.rolled_back:.2%}".replace("%", " %")]
        if row.kept is not None:
            cells[2] = f"{row.kept:.1%} in {row.within:,.0f} {row.unit}".replace("%", " %")
        for figure in (row.median, row.p95):
            cells.append("" if figure is None else f"{figure:,.0f} {row.unit}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", f"`{result.command}`, {result.date[:10]}."]) + "\n"


def _headline(rows: Sequence[SimulatedRollouts]) -> str:
    false = max(row.rolled_back for row in rows if row.kept is None)
    planted = [
        f"{row.world}: {row.kept:.1%} within {row.within:,.0f} {row.unit}"
        for row in rows
        if row.kept is not None
    ]
    return (
        f"Of the roll-outs of a version as good as control {false:.2%} are rolled back at most; of "
        f"planted bad ones, {'; '.join(planted)}."
    )


def main() -> None:
    """Parse the command line; exit 2 with one line for a user's mistake."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("build/benchmark/guardrails.json"))
    parser.add_argument("--quick", action="store_true", help="a tenth of the runs")
    parser.add_argument("--table", type=Path, metavar="FILE", help="print this result's table")
    options = parser.parse_args()
    with reported("error"):
        if options.table is not None:
            result = files.read_json(options.table, BenchmarkResult[SimulatedRollouts])
            sys.stdout.write(to_markdown(result))
            return
        machine = describe_machine(("numpy",))
        runs = QUICK_RUNS if options.quick else RUNS
        rows = [simulate(world, runs) for world in WORLDS]
        result = describe_result(machine, Path(__file__), rows, _headline(rows))
        files.write_json(options.out, result)
    Console().print(to_markdown(result), result.headline, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
