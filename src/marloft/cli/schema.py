"""`marloft schema`: a first schema from a sample, and the JSON Schema of a request."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from marloft.archive.inspection import inspect as describe_archive
from marloft.archive.openapi import request_document
from marloft.archive.project.infer_schema import infer_schema
from marloft.archive.project.schema_yaml import schema_yaml
from marloft.archive.spec import parse_spec
from marloft.cli.options import STORE, VAR, StoreOption, VarOption
from marloft.deploy.release.names import find_archive
from marloft.errors import ConfigError
from marloft.files import to_json

app = typer.Typer(no_args_is_help=True, help="The fields of requests: infer them, show them.")


@app.command()
def infer(
    sample: Annotated[
        Path, typer.Argument(help="Rows as clients will send them: .parquet, .csv, .jsonl, .json.")
    ],
    max_rows: Annotated[int, typer.Option(min=1, help="Rows of the sample to look at.")] = 100_000,
) -> None:
    """Print a first `schema` for an archive's YAML file, from a sample of rows.

    Example: marloft schema infer data.parquet

    It accepts every row it looked at; ranges are comments, not bounds. Read on: docs/schema.md.
    """
    found = infer_schema(sample, max_rows)
    head = f"From {sample.name}, {found.rows:,} rows. docs/schema.md has every word."
    sys.stdout.buffer.write(schema_yaml(found.schema, found.comments, head).encode())


@app.command()
def show(
    source: Annotated[
        str, typer.Argument(help="An archive's YAML file, an archive, or its name: ranker@2.0.")
    ],
    store: StoreOption = STORE,
    var: VarOption = VAR,
) -> None:
    """Print the JSON Schema 2020-12 of a request's body.

    Example: marloft schema show archive_configs/ranker_v1.yaml

    Read on: docs/schema.md.
    """
    if source.endswith((".yaml", ".yml")):
        spec = parse_spec(Path(source))
        title, schema = f"{spec.name} {spec.version}", spec.schema
    else:
        archive = describe_archive(find_archive(source, store, var))
        title, schema = f"{archive.name} {archive.version}", archive.schema
    if schema is None:
        raise ConfigError(f"{source} has no schema: its code reads its bodies itself.")
    sys.stdout.buffer.write(to_json(request_document(schema, title)))
