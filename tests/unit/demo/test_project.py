"""The demo that needs no download: its table, and what it refuses."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from marloft.demo.project import results_table, run_project_demo
from marloft.demo.run import Demo
from marloft.errors import ConfigError

FOUND = {
    "kind": "text",
    "users": 300,
    "seconds": {"train": 4.0, "pack": 8.0, "serve": 9.5, "experiment": 5.0},
    "experiment": {
        "results": {
            "arms": [
                {"name": "control", "version": "1.0", "users": 160, "ctr": 0.5},
                {"name": "treatment", "version": "2.0", "users": 140, "ctr": 0.6},
            ]
        },
        "decision": "not_shown",
    },
}


def test_table_has_both_arms_and_the_decision() -> None:
    screen = io.StringIO()
    Console(file=screen, width=100).print(results_table(FOUND))
    shown = screen.getvalue()
    for text in ("160 users, CTR 0.5000", "140 users, CTR 0.6000", "not shown", "22 s", "26 s"):
        assert text in shown


def test_folder_that_is_not_empty_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"is not empty; name another folder"):
        run_project_demo(Demo(0, Console(file=io.StringIO())), "text", 20)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
