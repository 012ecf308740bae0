"""`python -m tools.deliverables`: check the deliverables, write their page, refresh the results."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from marloft.errors import reported
from marloft.files import write_atomic
from tools.deliverables.checks import Finding, run_checks, tally
from tools.deliverables.expect import expect as expect_value
from tools.deliverables.table import PAGE, page, read_deliverables

app = typer.Typer(help="Check what was promised.", no_args_is_help=True, rich_markup_mode=None)
_WORDS = {"green": "ok", "red": "RED", "not_run": "not run"}


@app.command()
def check() -> None:
    """Run every check of docs/deliverables.yaml; ends with 1 when a row is red."""
    findings = run_checks(read_deliverables(Path()), Path())
    console = Console(width=150)
    console.print(_table(findings))
    for finding in findings:
        if finding.verdict == "not_run" and finding.row.state != "absent":
            console.print(f"not run: {finding.row.name}: {finding.reason}", markup=False)
    red = [finding for finding in findings if finding.verdict == "red"]
    for finding in red:
        where = f"{finding.area}, {finding.row.name}"
        line = f"RED: {where}: {finding.reason}\n     $ {finding.row.check}"
        console.print(line, markup=False, soft_wrap=True)
    console.print(tally(findings), highlight=False)
    raise typer.Exit(1 if red else 0)


@app.command("page")
def write_page() -> None:
    """Write docs/deliverables.md from docs/deliverables.yaml."""
    write_atomic(PAGE, page(read_deliverables(Path())))


@app.command()
def expect(
    file: Annotated[Path, typer.Argument(help="A JSON file.")],
    place: Annotated[str, typer.Argument(help="Keys joined by dots, such as serving.p99_ms.")],
    relation: Annotated[str, typer.Argument(help="<, <=, >, >=, ==, != or in.")],
    bound: Annotated[str, typer.Argument(help="A JSON value, or text as it is.")],
) -> None:
    """Print one value of a JSON file; ends with 1 when it is not as expected."""
    typer.echo(f"{place} is {expect_value(file, place, relation, bound)}")


@app.command()
def results() -> None:
    """Refresh docs/results/ from the last demo."""
    # matplotlib takes a second to import, so that only this command does it.
    from tools.deliverables.results import collect  # noqa: PLC0415

    for path in collect(Path()):
        typer.echo(str(path))


@app.command()
def talk() -> None:
    """Render docs/presentation/talk.typ to slides and speaker notes."""
    # typst and matplotlib are there with the `dev` extra only.
    from tools.deliverables.talk import render  # noqa: PLC0415

    for path in render(Path()):
        typer.echo(str(path))


def _table(findings: list[Finding]) -> Table:
    table = Table(title="Deliverables", title_justify="left")
    for name in ("area", "what", "state", "check", "s"):
        table.add_column(name, justify="right" if name == "s" else "left")
    for one in findings:
        style = "bold red" if one.verdict == "red" else None
        table.add_row(
            *(one.area, one.row.name, one.row.state, _WORDS[one.verdict], f"{one.seconds:.1f}"),
            style=style,
        )
    return table


def main() -> None:
    """Run the command; an error is one line on stderr."""
    with reported("deliverables"):
        app()


if __name__ == "__main__":
    main()
