"""`marloft new`: a project of your own model that works at once."""

from pathlib import Path
from typing import Annotated

import typer

from marloft.archive.scaffold import new_project


def new(
    name: Annotated[str, typer.Argument(help="The model's name: lower case letters, digits, _.")],
    folder: Annotated[
        Path | None, typer.Argument(help="Where to write it; by default a folder of the name.")
    ] = None,
    runtime: Annotated[str, typer.Option(help="onnx or torchscript.")] = "onnx",
) -> None:
    """Write a project around a tiny model: training, handler, archive, deployment, a test.

    Example: marloft new churn --runtime torchscript

    Read on: docs/new.md.
    """
    place = Path(name) if folder is None else folder
    for path in new_project(name, place, runtime):
        typer.echo(path)
    config = f"archive_configs/{name}.yaml"
    typer.echo(f"\nNext, in {place}/:")
    typer.echo("  python train.py")
    typer.echo(
        f"  marloft golden record {config} --requests requests.jsonl --source train.py:answer"
    )
    typer.echo(f"  marloft pack {config}")
