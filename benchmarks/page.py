"""Writes docs/benchmarks.md: every committed result with its headline, machine and command.

python -m benchmarks.page
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from marloft.contract.benchmark import BenchmarkResult, Headline
from marloft.files import read_json, write_atomic

RESULTS = Path("benchmarks/results")
PAGE = Path("docs/benchmarks.md")
_HEAD = """\
# Benchmarks

Generated from `benchmarks/results/` by `python -m benchmarks.page`; do not edit. Each figure can be
measured again by the command next to it, after `make demo`. `make bench` runs the short forms.
"""
# What the names of a headline mean, where they do not say it themselves.
_MEANING = {
    "requests": "requests driven through the gateway",
    "failed": "failed: not 200, the wrong version, no or two records, or over 5 s",
    "recover_torchserve_s": "from the kill of TorchServe to the last 503, s",
    "recover_gateway_s": "from the kill of the gateway to the last refused connection, s",
    "lost_records": "answers that are not in the log exactly once",
    "soak_slope_mb_per_min": "growth of memory at 70 % of capacity, MiB per minute",
    "pack_2gb_peak_mb": "largest memory while 2 GB are packed, MiB",
    "pack_vs_copy_ratio": "packing against a plain loop that reads, hashes, writes and flushes",
    "verify_s": "verify with replay, s",
    "verify_static_s": "verify without running anything, s",
    "hostile_total": "hostile archives",
    "hostile_refused": "hostile archives refused with the code and culprit of their cause",
    "hostile_missed": "hostile archives missed",
    "good_refused": "good archives refused",
    "hostile_requests": "malformed requests and slow clients",
    "server_errors": "of them answered 500, 502, 504, or 503 without Retry-After",
    "hung": "of them neither answered nor closed in the stated time",
    "neighbour_p99_ratio": "p99 of a good client beside them, against alone",
    "goodput_at_3x": "goodput at three times the peak, against the peak",
    "refusal_p99_ms": "p99 of the refusals then, ms",
    "back_to_normal_s": "from the end of that load until medians are normal, s",
    "health_false_alarms": "answers of /health other than 200 in both",
    "rollback_by_clients": "releases written meanwhile",
    "survived_faults": "faults survived: recovered by itself, no record lost, named by status",
    "total_faults": "faults",
}


def page(results: Path) -> str:
    """Return the page for the results in a folder, in the order of their names."""
    return "\n".join([_HEAD, *(_section(path) for path in sorted(results.glob("*.json")))])


def _section(path: Path) -> str:
    result = read_json(path, BenchmarkResult[Any])
    machine = result.machine
    libraries = ", ".join(f"{name} {version}" for name, version in machine.libraries.items())
    lines = [
        f"## {path.stem}",
        "",
        f"`{result.command}`, {result.date[:10]}: {machine.processor}, {machine.cores} cores, "
        f"load {machine.load_average:g} at the start, {libraries}.",
        "",
    ]
    headline = result.headline
    lines += [headline] if isinstance(headline, str) else _table(headline)
    return "\n".join([*lines, ""])


def _table(headline: Headline) -> Iterator[str]:
    yield "| figure | value |"
    yield "|---|---:|"
    for name, value in headline.items():
        if isinstance(value, dict):
            yield from (f"| {key}: failed | {each:,} |" for key, each in value.items())
        else:
            text = "not measured" if value is None else f"{value:,}"
            yield f"| {_MEANING.get(name, name)} | {text} |"


if __name__ == "__main__":
    write_atomic(PAGE, page(RESULTS))
