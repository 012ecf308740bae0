"""`marloft fairness`: audit a model's decision between groups."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from marloft.files import to_json

if TYPE_CHECKING:
    from marloft.contract.audit import FairnessReport

# fairlearn takes seconds to import, so only the command that needs it does.
# ruff: noqa: PLC0415
app = typer.Typer(no_args_is_help=True, help="Audit a model's decision between groups.")


@app.callback()
def _group() -> None:
    """Audit a model's decision between groups."""


@app.command()
def audit(
    config: Annotated[Path, typer.Argument(metavar="AUDIT.yaml", help="The audit's file.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the report; default: next to the predictions.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Judge a decision between groups and write fairness.html, fairness.md and fairness.json.

    Ends with 0 whatever the verdict; 2 when a file or a column is wrong.

    Example: marloft fairness audit training/audit.yaml --out build/fairness

    Read on: docs/fairness.md.
    """
    from marloft.fairness.audit import audit_decision
    from marloft.fairness.design import read_audit
    from marloft.fairness.report import write_report

    design = read_audit(config)
    report = audit_decision(design)
    paths = write_report(report, out or Path(design.predictions).parent)
    if as_json:
        typer.echo(to_json(report).decode(), nl=False)
        return
    show(report)
    typer.echo(f"report: {paths[0]}")


def show(report: "FairnessReport") -> None:
    """Print the verdicts as a table."""
    table = Table(title=f"Fairness of {report.name}: {report.decision}", title_justify="left")
    for column in ("feature", "metric", "value", "interval", "threshold", "verdict"):
        table.add_column(column, justify="right" if column == "value" else "left")
    for feature in report.features:
        for result in feature.results:
            low, high = (
                "…" if bound is None else f"{bound:.3f}"
                for bound in (result.estimate.low, result.estimate.high)
            )
            table.add_row(
                result.feature,
                result.metric.replace("_", " "),
                f"{result.estimate.value:.3f}",
                f"{low} to {high}",
                f"{result.threshold:g}",
                result.verdict.replace("_", " "),
            )
    Console().print(table)
