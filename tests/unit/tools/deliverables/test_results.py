"""The committed results: one run's figures, no row of data, no path of a machine."""

from pathlib import Path

import pytest

from harness.factories import REPOSITORY
from marloft.errors import DataError
from tools.deliverables.results import COPIES, FOLDER, KINDS, collect, leak

COMMITTED = sorted(path for path in (REPOSITORY / FOLDER).rglob("*") if path.is_file())


def test_results_are_committed() -> None:
    names = {str(path.relative_to(REPOSITORY / FOLDER)) for path in COMMITTED}
    assert names == {*COPIES.values(), "README.md", "latency.md", "training.png", "latency.png"}


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: path.name)
def test_results_hold_no_data_row_and_no_machine_path(path: Path) -> None:
    assert path.suffix in KINDS
    assert path.suffix == ".png" or leak(path.read_text()) is None


@pytest.mark.parametrize(
    "text",
    [
        "196\t242\t3\t881250949",
        "196,242,3",
        '{"user_id": 7, "features": []}',
        '{"rating":4}',
        "see /home/someone/marloft/build",
        "File /tmp/x.py",
    ],
)
def test_a_leak_is_noticed(text: str) -> None:
    assert leak(f"a line\n{text}\n") is not None


@pytest.mark.parametrize(
    "text", ["| 1 | 0.35 |", "build/demo/var", "2026-11-25T14:21:32", "</work>"]
)
def test_ordinary_text_is_no_leak(text: str) -> None:
    assert leak(text) is None


def test_collect_without_a_demo_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run `make demo` first"):
        collect(tmp_path)
