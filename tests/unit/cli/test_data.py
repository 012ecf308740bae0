"""`marloft data`, as typed."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from marloft.cli.data import app
from marloft.errors import DataError
from marloft.ranker.prepare import read_dataset


def test_prepare_generates_a_data_set_without_any_download(tmp_path: Path) -> None:
    run = CliRunner().invoke(app, ["prepare", "--out", str(tmp_path), "--source", "synthetic"])
    assert run.exit_code == 0
    assert run.output.startswith("synthetic: 20,000 ratings of 300 users and 200 items")
    assert read_dataset(tmp_path).split_seed == 2020


def test_prepare_before_fetch_says_what_to_run(tmp_path: Path) -> None:
    run = CliRunner().invoke(app, ["prepare", "--out", str(tmp_path)])
    assert isinstance(run.exception, DataError)
    assert "run `marloft data fetch` first" in str(run.exception)


def test_fetch_of_a_wrong_wheel_ends_as_the_users_mistake(tmp_path: Path) -> None:
    wheel = tmp_path / "a.whl"
    wheel.write_bytes(b"")
    run = CliRunner().invoke(app, ["fetch", "--out", str(tmp_path), "--path", str(wheel)])
    assert isinstance(run.exception, DataError)
    assert run.exception.exit_code == 2


@pytest.mark.parametrize("command", ["fetch", "prepare"])
def test_help_has_an_example_and_where_to_read_on(command: str) -> None:
    run = CliRunner().invoke(app, [command, "--help"])
    assert "Example: marloft data" in run.output
    assert "docs/data.md" in run.output
