"""`marloft golden record`: what the source model answers, for every later form to repeat."""

from pathlib import Path
from typing import Annotated

import typer

from marloft.archive.record_golden import record_golden
from marloft.archive.user_code import UserCodeError

app = typer.Typer(help="Golden answers: recorded from the source model.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Golden answers: recorded from the source model."""


@app.command()
def record(
    config: Annotated[Path, typer.Argument(help="A file of archive_configs/.")],
    requests: Annotated[Path, typer.Option(help="Request bodies, one a line.")],
    source: Annotated[
        str, typer.Option(help="FILE.py:CALLABLE or MODULE:CALLABLE that answers one body.")
    ],
    out: Annotated[
        Path | None, typer.Option(help="By default the file that `golden` in CONFIG names.")
    ] = None,
) -> None:
    """Record golden answers from the source model, by running the callable that you name.

    Example: marloft golden record archive_configs/churn.yaml --requests requests.jsonl
    --source train.py:answer

    Read on: docs/archive.md.
    """
    try:
        answers = record_golden(config, requests, source, out)
    except UserCodeError as error:
        typer.echo(error.log, err=True)
        raise
    typer.echo(f"{len(answers)} golden answers recorded from {source}")
