import os
from pathlib import Path

import pytest

from marloft.cores import available_cores

ALL = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("limit", "cores"),
    [
        ("max 100000", ALL),
        ("100000 100000", 1),
        ("50000 100000", 1),
        ("150000 100000", min(2, ALL)),
        ("6400000 100000", ALL),
    ],
)
def test_cores_are_those_of_the_limit_rounded_up(tmp_path: Path, limit: str, cores: int) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(limit + "\n")
    assert available_cores(file) == cores


def test_cores_without_a_limit_are_those_of_the_process(tmp_path: Path) -> None:
    assert available_cores(tmp_path / "none") == ALL
