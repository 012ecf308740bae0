"""`marloft demo`: a new project, served and measured, without a download."""

import contextlib
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from marloft.archive.project.scaffold import KINDS
from marloft.errors import ConfigError

# The steps are programs of their own, the last of which would say what it lacks after a minute.
_NEEDS = ("torch", "ts", "duckdb", "scipy", "tea_tasting")


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
    _check_installed()
    from marloft.demo.project import results_table, run_project_demo  # noqa: PLC0415
    from marloft.demo.run import Demo  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(folder):
        shown = Demo(port_offset, Console(), var=Path("var"), store=Path("model_store"))
        run_project_demo(shown, kind, users)
    shown.console.print(results_table(shown.summary))
    shown.say(f"{folder} is yours to go on with: its README.md says how.")


def _check_installed() -> None:
    missing = [module for module in _NEEDS if find_spec(module) is None]
    if missing:
        raise ConfigError(
            f"the demo needs {', '.join(missing)}, not installed here; "
            "pip install 'marloft[serve,experiment]'"
        )
