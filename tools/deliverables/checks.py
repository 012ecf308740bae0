"""Runs the checks of the table, a few at a time, and says of each row what came out."""

import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import Literal

from msgspec import Struct

from tools.deliverables.table import STATES, Area, Deliverables, Row

LIMIT_S = 120
_SKIPPED = re.compile(r"^SKIPPED \[\d+\] [^ ]+: (?P<reason>.*)$", re.MULTILINE)


class Finding(Struct, frozen=True, kw_only=True):
    """What the check of one row found.

    `not_run` is a check that could not be made here, or that of an absent row; `seconds` is the
    time of its command, which rows with the same command share.
    """

    area: str
    row: Row
    verdict: Literal["green", "red", "not_run"]
    reason: str
    seconds: float


class _Outcome(Struct, frozen=True, kw_only=True):
    verdict: Literal["green", "red", "not_run"]
    reason: str
    seconds: float


def run_checks(table: Deliverables, root: Path, *, workers: int = 2) -> list[Finding]:
    """Run every check once and return one finding per row, in the order of the table."""
    wanted = {row.check: None for row in table.rows if row.state != "absent"}
    with ThreadPoolExecutor(workers) as pool:
        outcomes = dict(zip(wanted, pool.map(lambda c: _run(c, root), wanted), strict=True))
    return [_find(area, row, root, outcomes) for area in table.areas for row in area.rows]


def tally(findings: Iterable[Finding]) -> str:
    """Return `N done, M thin, K absent`; red rows count for none of them."""
    found = list(findings)
    counts = Counter(finding.row.state for finding in found if finding.verdict != "red")
    red = sum(finding.verdict == "red" for finding in found)
    line = ", ".join(f"{counts[state]} {state}" for state in STATES)
    return line + (f", {red} red" if red else "")


def _find(area: Area, row: Row, root: Path, outcomes: dict[str, _Outcome]) -> Finding:
    if row.state == "absent":
        outcome = _Outcome(verdict="not_run", reason=row.note or "", seconds=0.0)
    else:
        outcome = outcomes[row.check]
        missing = [path for path in row.files if not _is_there(root / path)]
        if missing:
            reason = f"missing or empty: {', '.join(missing)}"
            outcome = _Outcome(verdict="red", reason=reason, seconds=outcome.seconds)
    return Finding(
        area=area.name,
        row=row,
        verdict=outcome.verdict,
        reason=outcome.reason,
        seconds=outcome.seconds,
    )


def _is_there(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _run(check: str, root: Path) -> _Outcome:
    words = shlex.split(check)
    # The project's programs lie beside its Python, whether or not the environment is active.
    here = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": here + os.pathsep + os.environ.get("PATH", "")}
    # Checks run side by side: with a thread per core in each, they would wait for each other.
    environment["OMP_NUM_THREADS"] = "1"
    started = monotonic()
    try:
        done = subprocess.run(
            words,
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
    except FileNotFoundError:
        return _red(f"{words[0]} is not installed", started)
    except subprocess.TimeoutExpired:
        return _red(f"not finished in {LIMIT_S} s", started)
    seconds = round(monotonic() - started, 1)
    if done.returncode != 0:
        return _red(_last_line(done.stderr) or _last_line(done.stdout) or "no output", started)
    if words[0] == "pytest" and " passed" not in done.stdout:
        # pytest ends with 0 when it skipped everything, which proves nothing.
        skipped = _SKIPPED.search(done.stdout)
        reason = skipped["reason"] if skipped else "no test ran"
        return _Outcome(verdict="not_run", reason=reason, seconds=seconds)
    return _Outcome(verdict="green", reason="", seconds=seconds)


def _red(reason: str, started: float) -> _Outcome:
    return _Outcome(verdict="red", reason=reason, seconds=round(monotonic() - started, 1))


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
