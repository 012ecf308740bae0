"""One run's results, copied and drawn from `build/` into `docs/results/`, which is committed.

No rating of a user and no path of a machine gets in: both are looked for, and refused.
"""

import re
from pathlib import Path
from typing import Any

import msgspec

from marloft.errors import DataError
from marloft.files import write_atomic
from tools.deliverables.figures import latency_figure, training_figure

FOLDER = Path("docs/results")
COPIES = {
    "build/demo/summary.json": "summary.json",
    "build/train/metrics.jsonl": "training.jsonl",
    "build/demo/feed_ab/report.md": "experiment/report.md",
    "build/demo/feed_ab/report.html": "experiment/report.html",
    "build/demo/feed_ab/report.json": "experiment/report.json",
    "build/demo/feed_planted/report.md": "planted/report.md",
    "build/demo/feed_planted/report.html": "planted/report.html",
    "build/fairness/fairness.md": "fairness/fairness.md",
    "build/fairness/fairness.html": "fairness/fairness.html",
    "build/fairness/fairness.json": "fairness/fairness.json",
}
LATENCY = "build/benchmark/latency.json"
KINDS = {".json", ".jsonl", ".md", ".html", ".png"}

_MACHINE_PATH = re.compile(r"(?<![\w.:/])/(?:home|root|tmp|work|opt|mnt|Users|var/folders)/[\w.-]+")
_RATING_ROW = re.compile(
    r"^\s*\d+[\t,;|]\d+[\t,;|]\d+(?:[\t,;|]\d+)?\s*$|\"(?:user_id|item_id|rating)\"\s*:"
)
_SIGNS = {"machine path": _MACHINE_PATH, "row of data": _RATING_ROW}

_OVERVIEW = """\
# Results of one run

Written by `make results` after `make demo`; no row of the data is in here. Machine: {machine}.

| figure | value | from |
|---|---|---|
{rows}

![Loss and AUC per epoch](training.png)

![Latency of every form](latency.png)

The reports with their figures: [experiment](experiment/report.html),
[planted](planted/report.html), [fairness](fairness/fairness.html).
"""


def collect(root: Path) -> list[Path]:
    """Refresh `docs/results/` of the project in `root` from its last demo; return what was written.

    Raises:
        DataError: a file of the run is missing, or holds what must not be published.
    """
    contents = {target: _read(root / source) for source, target in COPIES.items()}
    latency = msgspec.json.decode(_read(root / LATENCY))
    contents["latency.md"] = latency_table(latency).encode()
    contents["README.md"] = overview(
        msgspec.json.decode(contents["summary.json"]), latency
    ).encode()
    for name, content in contents.items():
        found = leak(content.decode())
        if found:
            raise DataError(f"{name} holds a {found}; it must not be published.")
    epochs = [msgspec.json.decode(line) for line in contents["training.jsonl"].splitlines()]
    contents["training.png"] = training_figure(epochs)
    contents["latency.png"] = latency_figure(latency["rows"])
    for name, content in contents.items():
        write_atomic(root / FOLDER / name, content)
    return [FOLDER / name for name in contents]


def leak(text: str) -> str | None:
    """Return what must not be published in `text`, shortened, or None."""
    for line in text.splitlines():
        for name, sign in _SIGNS.items():
            found = sign.search(line)
            if found:
                return f"{name} ({found[0].strip()[:40]!r})"
    return None


def latency_table(found: dict[str, Any]) -> str:
    """Return the table of artifacts as Markdown; `found` is `latency.json`."""
    titles = ("form", "runtime", "candidates", "p50 ms", "p99 ms", "KiB", "test AUC")
    lines = [
        f"| `{row['artifact']}` | {row['runtime']} | {row['candidates']} | {row['p50_ms']:.3f} | "
        f"{row['p99_ms']:.3f} | {row['size_bytes'] / 1024:.0f} | {row['test_auc']:.4f} |"
        for row in found["rows"]
    ]
    head = [f"| {' | '.join(titles)} |", "|---|---|---:|---:|---:|---:|---:|"]
    source = f"`{found['command']}`, {found['date'][:10]}: {_machine(found)}."
    return "\n".join(["# Latency of every form", "", *head, *lines, "", source, ""])


def overview(summary: dict[str, Any], latency: dict[str, Any]) -> str:
    """Return the index of the folder with the run's main figures."""
    lines = [f"| {name} | {value} | [{at}]({at}) |" for name, value, at in _figures(summary)]
    return _OVERVIEW.format(machine=_machine(latency), rows="\n".join(lines))


def _figures(summary: dict[str, Any]) -> list[tuple[str, str, str]]:
    load, train, test = summary["serving"], summary["train"], summary["experiment"]
    low, high = test["ci"]
    latencies = " / ".join(f"{load[key]:.0f}" for key in ("p50_ms", "p95_ms", "p99_ms"))
    change = f"{test['effect']:+.1%} [{low:+.1%}, {high:+.1%}]"
    return [
        ("test AUC, random split", f"{train['test_auc']:.4f}", "summary.json"),
        (
            "training",
            f"{train['seconds']:.1f} s, {train['world_size']} processes",
            "training.jsonl",
        ),
        ("predictions", f"{load['requests']:,}, {load['errors']} failed", "summary.json"),
        ("predictions per second", f"{load['qps']:.0f}", "summary.json"),
        ("latency p50 / p95 / p99", f"{latencies} ms", "summary.json"),
        ("change of CTR, INT8 against fp32", change, "experiment/report.md"),
        ("decision on INT8", _words(test["decision"]), "experiment/report.md"),
        ("decision on a bad ranker", _words(summary["planted"]["decision"]), "planted/report.md"),
        ("fairness", "a verdict per feature and metric", "fairness/fairness.md"),
        ("latency, size, AUC of every form", "a table", "latency.md"),
    ]


def _words(decision: str) -> str:
    return decision.replace("_", " ")


def _machine(latency: dict[str, Any]) -> str:
    machine = latency["machine"]
    libraries = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items())
    return f"{machine['processor']}, {machine['cores']} cores, {machine['system']}, {libraries}"


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise DataError(f"{path} does not exist; run `make demo` first.")
    return path.read_bytes()
