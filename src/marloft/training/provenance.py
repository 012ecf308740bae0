"""On what machine, from which commit and by which command a figure was measured."""

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from marloft.contract.benchmark import BenchmarkResult, Headline, Machine, Row

_CPU_INFO = Path("/proc/cpuinfo")


def describe_machine(libraries: Iterable[str]) -> Machine:
    """Describe this machine and the installed versions of the named distributions."""
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 1,
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        libraries={name: version(name) for name in libraries},
        load_average=round(os.getloadavg()[0], 2),
    )


def describe_commit(folder: Path) -> str | None:
    """Return the commit of the repository that holds `folder`, None when there is none.

    It ends in `-dirty` when tracked files were changed since.
    """
    words = ["git", "describe", "--always", "--dirty", "--exclude", "*", "--abbrev=40"]
    try:
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def describe_result(
    machine: Machine, script: Path, rows: list[Row], headline: str | Headline
) -> BenchmarkResult[Row]:
    """Return what a benchmark measured, with the commit of `script` and this process's command.

    `machine` is described before the measuring, since it holds the load at the start.
    """
    return BenchmarkResult(
        machine=machine,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=describe_commit(script.parent),
        command=describe_command(),
        rows=rows,
        headline=headline,
    )


def describe_command() -> str:
    """Return the command that started this process, as a reader would type it."""
    spec = sys.modules["__main__"].__spec__
    program = [sys.argv[0]] if spec is None else ["-m", spec.name]
    return shlex.join(["python", *program, *sys.argv[1:]])


def _processor() -> str:
    if _CPU_INFO.is_file():
        for line in _CPU_INFO.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
