"""`marloft apply`, `marloft serve`: decide what is live, and keep it so."""

import signal
import threading
import time
from pathlib import Path
from typing import Annotated

import typer

from marloft.contract.release import Release
from marloft.deploy import releases
from marloft.deploy.ports import LOOPBACK, Exposure, Ports
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
    reassign: Annotated[
        bool, typer.Option("--reassign", help="Let new weights move users in any way.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Apply a file that a rollback superseded.")
    ] = False,
) -> None:
    """Check deployment.yaml and its archives, and write the next release.

    Example: marloft apply deployment.yaml

    A running `marloft serve` brings it live. Read on: docs/serving.md.
    """
    release = releases.apply(deployment, store, var, reassign=reassign, force=force)
    if release is None:
        typer.echo("nothing to do: the newest release already says so.")
        return
    _announce(release)


def promote(
    model: Annotated[
        str | None, typer.Argument(help="The model; by default the default model.")
    ] = None,
    version: Annotated[
        str | None, typer.Option(help="The winner, when there are several treatments.")
    ] = None,
    var: VarOption = VAR,
) -> None:
    """End an experiment: its treatment becomes the default version.

    Example: marloft promote ranker --version 2.0

    Read on: docs/serving.md.
    """
    _announce(releases.promote(var, model, version))


def rollback(
    to: Annotated[int | None, typer.Option(help="The release to go back to.")] = None,
    store: StoreOption = STORE,
    var: VarOption = VAR,
) -> None:
    """Go back to the release before, or to an earlier one, as a new release.

    Example: marloft rollback --to 3

    Read on: docs/serving.md.
    """
    _announce(releases.rollback(var, store, to))


def _announce(release: Release) -> None:
    typer.echo(f"release {release.release} written: {release.reason}.")


def serve(
    store: StoreOption = STORE,
    var: VarOption = VAR,
    config: Annotated[Path, typer.Option(help="TorchServe's config.properties.")] = Path(
        "config.properties"
    ),
    port_offset: Annotated[int, typer.Option(help="Added to every port; gateway: 8000.")] = 0,
    host: Annotated[str, typer.Option(help="The address that clients reach.")] = LOOPBACK,
    operations_host: Annotated[
        str, typer.Option(help="The address of probes and scrapes, port 8001, read-only.")
    ] = LOOPBACK,
    drain_s: Annotated[
        float, typer.Option(min=0, help="Seconds of /health 503 before a stop closes the port.")
    ] = 0.0,
) -> None:
    """Run TorchServe and the gateway on the newest release until Ctrl-C or SIGTERM.

    Example: marloft serve --port-offset 100

    Requests under way get their answers before it ends.

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
        exposure=Exposure(gateway=host, operations=operations_host),
        announce_s=drain_s,
    )
