"""The tables at the end of the demo, from the figures of the committed run."""

import io
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from harness.factories import REPOSITORY
from marloft.demo.__main__ import latency_table, results_table
from marloft.files import read_json


@pytest.fixture(scope="module")
def summary() -> dict[str, Any]:
    return read_json(REPOSITORY / "docs" / "results" / "summary.json", dict[str, Any])


def printed(table: Table) -> list[str]:
    screen = io.StringIO()
    Console(file=screen, width=120).print(table)
    return screen.getvalue().splitlines()


def test_every_form_has_a_line_with_its_figures(summary: dict[str, Any]) -> None:
    lines = printed(latency_table(summary))
    for row in summary["optimize"]:
        (line,) = [each for each in lines if f" {row['artifact']} " in each]
        assert f"{row['p50_ms']:.3f}" in line
        assert f"{row['test_auc']:.4f}" in line


def test_results_name_both_decisions_and_both_audits(summary: dict[str, Any]) -> None:
    text = "\n".join(printed(results_table(summary)))
    assert summary["planted"]["decision"].replace("_", " ") in text
    assert summary["experiment"]["decision"].replace("_", " ") in text
    assert f"{summary['serving']['requests']:,}, {summary['serving']['errors']} failed" in text
    for feature in ("gender", "age band"):
        assert f"parity difference by {feature}" in text
