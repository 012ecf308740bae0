"""`marloft new` and `marloft adopt`: projects, from nothing and from a stock archive."""

from pathlib import Path
from typing import Annotated

import typer

from marloft.archive.project.adopt import adopt as adopt_archive
from marloft.archive.project.scaffold import KINDS, new_project, next_commands


def new(
    name: Annotated[str, typer.Argument(help="The model's name: lower case letters, digits, _.")],
    folder: Annotated[
        Path | None, typer.Argument(help="Where to write it; by default a folder of the name.")
    ] = None,
    kind: Annotated[str, typer.Option(help=f"{', '.join(KINDS)}.")] = "classification",
    runtime: Annotated[str, typer.Option(help="onnx or torchscript.")] = "onnx",
) -> None:
    """Write a project around a tiny model: from training to a dashboard and an experiment.

    Example: marloft new feed --kind ranking

    Read on: docs/new.md.
    """
    place = Path(name) if folder is None else folder
    for path in new_project(name, place, runtime, kind):
        typer.echo(path)
    typer.echo(f"\nNext, in {place}/:")
    for command in next_commands(name):
        typer.echo(f"  {command}")


def adopt(
    archive: Annotated[Path, typer.Argument(help="An archive of torch-model-archiver, *.mar.")],
    folder: Annotated[
        Path | None, typer.Argument(help="Where to write it; by default a folder of its name.")
    ] = None,
    schema: Annotated[
        Path | None, typer.Option(help="The rows: a schema.json, or YAML with row and max_rows.")
    ] = None,
    golden: Annotated[
        Path | None, typer.Option(help="Answers of the source model, golden.jsonl.")
    ] = None,
) -> None:
    """Turn a stock archive into a folder that `pack` takes, and say what it lacks.

    Example: marloft adopt model_store/resnet.mar

    Nothing of the archive is run. Read on: docs/archive.md.
    """
    place = Path(archive.stem) if folder is None else folder
    adopted = adopt_archive(archive, place, schema=schema, golden=golden)
    typer.echo(f"wrote {adopted.config}")
    for each in adopted.missing:
        typer.echo(f"missing: {each}")
    typer.echo(f"Next: marloft pack {adopted.config}")
