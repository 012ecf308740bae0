"""`marloft demo`: a new project, served and measured, without a download."""

import contextlib
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from marloft.archive.project.scaffold import KINDS


def demo(
    folder: Annotated[Path, typer.Argument(help="Where to make the project; empty or new.")] = Path(
        "marloft-demo"
    ),
    kind: Annotated[str, typer.Option(help=f"{', '.join(KINDS)}.")] = "ranking",
    users: Annotated[int, typer.Option(min=20, help="How many made-up visitors ask.")] = 300,
    port_offset: Annotated[int, typer.Option(help="Added to every port; gateway: 8000.")] = 0,
) -> None:
    """Train, pack and serve a tiny model, let visitors use it, decide an A/B test: a minute or two.

    Example: marloft demo --kind classification

    Nothing is downloaded. Needs marloft[serve,experiment]. Read on: docs/new.md.
    """
    # Named before the first minute is over: the steps are programs of their own.
    for module in ("torch", "ts", "duckdb", "scipy"):
        import_module(module)
    from marloft.demo.project import results_table, run_project_demo  # noqa: PLC0415
    from marloft.demo.run import Demo  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(folder):
        shown = Demo(port_offset, Console(), var=Path("var"), store=Path("model_store"))
        run_project_demo(shown, kind, users)
    shown.console.print(results_table(shown.summary))
    shown.say(f"{folder} is yours to go on with: its README.md says how.")
