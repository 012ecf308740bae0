"""How a confined program ended is reported, and its environment is its own."""

import sys
from pathlib import Path

import pytest

from marloft.archive.sandbox.confinement import ConfinedRun, Limits, run

FEW = Limits(wall_s=10.0, memory_bytes=4 << 30, file_bytes=1 << 20)


def _run(folder: Path, code: str) -> ConfinedRun:
    return run([sys.executable, "-I", "-c", code], folder, folder, FEW)


def test_status_and_output_are_the_programs(tmp_path: Path) -> None:
    outcome = _run(tmp_path, "import sys; print('hello'); sys.exit(7)")
    assert (outcome.status, outcome.log) == (7, "hello\n")
    assert not outcome.timed_out
    assert not outcome.left_running


def test_signal_is_a_negative_status(tmp_path: Path) -> None:
    assert _run(tmp_path, "import os; os.kill(os.getpid(), 15)").status == -15


def test_environment_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    outcome = _run(tmp_path, "import os; print(sorted(os.environ))")
    assert outcome.log.strip() == "['HOME', 'LANG', 'MARLOFT_VAR', 'PATH', 'TMPDIR']"


def test_only_the_end_of_a_flood_is_kept(tmp_path: Path) -> None:
    outcome = _run(tmp_path, "print('x' * 500_000); print('end')")
    assert len(outcome.log) <= 64 << 10
    assert outcome.log.endswith("end\n")
