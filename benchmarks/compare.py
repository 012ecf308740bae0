"""Says which rows of a benchmark are worse than the committed ones, by more than a factor.

    python -m benchmarks.compare benchmarks/results/log.json build/benchmark/log.json \
        --by policy batch --figure p50_us --factor 5

Rows that only one of the two has are passed over. Ends with 1 when a row is worse; the factor is
wide because machines differ and are shared.
"""

import argparse
from pathlib import Path
from typing import Any

from rich.console import Console

from marloft.contract.benchmark import BenchmarkResult
from marloft.errors import DataError, reported
from marloft.files import read_json

Rows = list[dict[str, Any]]


def worse(committed: Rows, measured: Rows, by: list[str], figure: str, factor: float) -> list[str]:
    """Return one line for each row whose `figure` is over `factor` times the committed one.

    Raises:
        DataError: no row is in both, or one lacks the figure.
    """
    known = {tuple(row.get(key) for key in by): row for row in committed}
    pairs = [(key, known[key], row) for row in measured if (key := _key(row, by)) in known]
    if not pairs or not all(figure in old and figure in new for _, old, new in pairs):
        raise DataError(f"no rows with {figure!r} are in both results, by {', '.join(by)}.")
    return [
        f"{' '.join(map(str, key))}: {figure} {new[figure]:g}, committed {old[figure]:g}"
        for key, old, new in pairs
        if new[figure] > factor * old[figure]
    ]


def _key(row: dict[str, Any], by: list[str]) -> tuple[Any, ...]:
    return tuple(row.get(key) for key in by)


def main() -> None:
    """Parse the command line; exit 2 for a user's mistake, 1 for a worse row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("committed", type=Path)
    parser.add_argument("measured", type=Path)
    parser.add_argument("--by", nargs="+", required=True, help="what names a row")
    parser.add_argument("--figure", required=True, help="smaller is better")
    parser.add_argument("--factor", type=float, required=True)
    options = parser.parse_args()
    with reported("error"):
        committed, measured = (
            read_json(path, BenchmarkResult[dict[str, Any]]).rows
            for path in (options.committed, options.measured)
        )
        found = worse(committed, measured, options.by, options.figure, options.factor)
    for line in found:
        Console().print(line, highlight=False)
    raise SystemExit(1 if found else 0)


if __name__ == "__main__":
    main()
