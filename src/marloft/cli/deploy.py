"""`marloft apply`, `marloft serve`: decide what is live, and keep it so."""

import signal
import threading
import time
from pathlib import Path
from typing import Annotated

import typer

from marloft.deploy.ports import Ports
from marloft.deploy.releases import apply as write_next
from marloft.deploy.supervisor import Project
from marloft.deploy.supervisor import serve as run_until_stopped

StoreOption = Annotated[Path, typer.Option("--store", help="The model store.")]
VarOption = Annotated[
    Path, typer.Option("--var", envvar="MARLOFT_VAR", help="Where releases and logs lie.")
]
DEPLOYMENT = Path("deployment.yaml")
STORE = Path("model_store")
VAR = Path("var")


def apply(
    deployment: Annotated[Path, typer.Argument(help="What should be live.")] = DEPLOYMENT,
    store: StoreOption = STORE,
    var: VarOption = VAR,
) -> None:
    """Check deployment.yaml and its archives, and write the next release.

    Example: marloft apply deployment.yaml

    A running `marloft serve` brings it live. Read on: docs/serving.md.
    """
    release = write_next(deployment, store, var)
    if release is None:
        typer.echo("nothing to do: the newest release already says so.")
        return
    typer.echo(f"release {release.release} written.")


def serve(
    store: StoreOption = STORE,
    var: VarOption = VAR,
    config: Annotated[Path, typer.Option(help="TorchServe's config.properties.")] = Path(
        "config.properties"
    ),
    port_offset: Annotated[int, typer.Option(help="Added to every port; gateway: 8000.")] = 0,
) -> None:
    """Run TorchServe and the gateway on the newest release until Ctrl-C.

    Example: marloft serve --port-offset 100

    Read on: docs/serving.md.
    """
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    started = time.monotonic()
    project = Project(config=config, store=store, var=var)
    run_until_stopped(
        project,
        Ports(offset=port_offset),
        stop,
        lambda text: typer.echo(f"[{time.monotonic() - started:5.1f} s] {text}"),
    )
