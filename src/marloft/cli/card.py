"""`marloft card`: write a model card from a run's own numbers."""

from pathlib import Path
from typing import Annotated

import typer

from marloft.files import write_atomic


def card(
    config: Annotated[Path, typer.Argument(metavar="CARD.yaml", help="The card's file.")],
    out: Annotated[Path, typer.Option(help="The Markdown file to write.")] = Path(
        "build/card/model_card.md"
    ),
) -> None:
    """Write a model card: its words from CARD.yaml, its numbers from the files of the run.

    Example: marloft card training/card.yaml --out build/card/model_card.md

    Read on: docs/fairness.md.
    """
    # huggingface_hub takes a second to import, so only this command does it.
    from marloft.archive.card import model_card, read_card  # noqa: PLC0415

    write_atomic(out, model_card(read_card(config)))
    typer.echo(str(out))
