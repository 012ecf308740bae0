"""The `marloft` command: one file per group of verbs, read when a verb of it is asked for."""

import sys

import typer

from marloft.cli.verbs import LazyGroup, full_name
from marloft.errors import reported
from marloft.version import __version__

app = typer.Typer(
    name="marloft",
    cls=LazyGroup,
    help="From a trained PyTorch model to an A/B-tested, monitored TorchServe endpoint.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


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
    with reported("marloft", full_name(sys.argv[1:])):
        app()
