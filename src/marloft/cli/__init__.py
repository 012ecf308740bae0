"""The `marloft` command: one file per group of verbs."""

import typer

from marloft.cli import (
    archive,
    card,
    data,
    deploy,
    experiment,
    fairness,
    golden,
    inspect,
    log,
    monitoring,
    scaffold,
    schema,
    share,
    status,
    trust,
)
from marloft.errors import reported
from marloft.version import __version__

app = typer.Typer(
    name="marloft",
    help="From a trained PyTorch model to an A/B-tested, monitored TorchServe endpoint.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(data.app, name="data")
app.add_typer(experiment.app, name="experiment")
app.add_typer(fairness.app, name="fairness")
app.add_typer(log.app, name="log")
app.add_typer(trust.keys, name="keys")
app.add_typer(golden.app, name="golden")
app.add_typer(schema.app, name="schema")
app.command()(archive.pack)
app.command()(archive.verify)
app.command()(trust.sign)
app.command()(share.push)
app.command()(share.pull)
app.command()(card.card)
app.command()(deploy.plan)
app.command()(deploy.apply)
app.command()(deploy.promote)
app.command()(deploy.rollback)
app.command()(deploy.serve)
app.command("trace")(log.trace_request)
app.command()(status.status)
app.command(name="list")(status.list_archives)
app.command()(status.gc)
app.command()(status.history)
app.command()(inspect.inspect)
app.command()(monitoring.metrics)
app.command()(scaffold.adopt)
app.command()(scaffold.new)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """From a trained PyTorch model to an A/B-tested, monitored TorchServe endpoint."""


def main() -> None:
    """Run the command line; an error of the user's is one line on stderr and exit code 2."""
    with reported("marloft"):
        app()
