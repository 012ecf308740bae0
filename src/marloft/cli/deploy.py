"""`marloft plan`, `apply`, `promote`, `rollback`, `serve`: decide what is live, keep it so."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from marloft.cli.options import STORE, VAR, JsonOption, StoreOption, VarOption
from marloft.contract.release import Release, releases_folder
from marloft.deploy.ports import LOOPBACK, Exposure, Ports
from marloft.deploy.project import Project
from marloft.deploy.release import write as releases
from marloft.deploy.release.plan import Plan, make_plan, warnings_of
from marloft.deploy.wait_until_live import next_steps, wait_until_live
from marloft.files import to_json
from marloft.stop_signal import StopSignal

DeploymentArgument = Annotated[Path, typer.Argument(help="What should be live.")]
ReassignOption = Annotated[
    bool, typer.Option("--reassign", help="Let new weights move users in any way.")
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Apply a file that a rollback superseded.")
]
NoRolloutOption = Annotated[
    bool, typer.Option("--no-rollout", help="Let another default take over at once.")
]
WaitOption = Annotated[
    bool, typer.Option("--wait/--no-wait", help="Wait until a running `marloft serve` has it live.")
]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", min=0, help="Seconds to wait; exit status 1 after them.")
]
DEPLOYMENT = Path("deployment.yaml")
TIMEOUT_S = 120.0
SOMETHING_TO_DO = 3


def plan(
    deployment: DeploymentArgument = DEPLOYMENT,
    store: StoreOption = STORE,
    var: VarOption = VAR,
    reassign: ReassignOption = False,
    force: ForceOption = False,
    no_rollout: NoRolloutOption = False,
    json: JsonOption = False,
) -> None:
    """Show what `marloft apply` would change, and write nothing.

    Example: marloft plan deployment.yaml

    Exit status 0: nothing to do, 3: something to do, 2: apply would refuse.
    Read on: docs/releases.md.
    """
    found = make_plan(deployment, store, var, reassign=reassign, force=force, no_rollout=no_rollout)
    if json:
        sys.stdout.buffer.write(to_json(found))
    else:
        _show(found)
    if found.refused is not None:
        raise typer.Exit(2)
    if found.changes:
        raise typer.Exit(SOMETHING_TO_DO)


def apply(
    deployment: DeploymentArgument = DEPLOYMENT,
    store: StoreOption = STORE,
    var: VarOption = VAR,
    reassign: ReassignOption = False,
    force: ForceOption = False,
    no_rollout: NoRolloutOption = False,
    wait: WaitOption = True,
    timeout: TimeoutOption = TIMEOUT_S,
) -> None:
    """Check deployment.yaml and its archives, and write the next release.

    Example: marloft apply deployment.yaml

    A running `marloft serve` brings it live. Read on: docs/releases.md.
    """
    release = releases.apply(
        deployment, store, var, reassign=reassign, force=force, no_rollout=no_rollout
    )
    if release is None:
        typer.echo("nothing to do: the newest release already says so.")
        return
    _announce(release, var, wait, timeout)


def promote(
    model: Annotated[
        str | None, typer.Argument(help="The model, or ranker@2.0; by default the default model.")
    ] = None,
    version: Annotated[
        str | None, typer.Option(help="The winner or its alias, when there are several.")
    ] = None,
    var: VarOption = VAR,
    wait: WaitOption = True,
    timeout: TimeoutOption = TIMEOUT_S,
) -> None:
    """End an experiment or a roll-out: its version becomes the default at once.

    Example: marloft promote ranker --version 2.0

    Read on: docs/releases.md.
    """
    _announce(releases.promote(var, model, version), var, wait, timeout)


def rollback(
    to: Annotated[int | None, typer.Option(help="The release to go back to.")] = None,
    store: StoreOption = STORE,
    var: VarOption = VAR,
    wait: WaitOption = True,
    timeout: TimeoutOption = TIMEOUT_S,
) -> None:
    """End a roll-out, or go back to the release before or an earlier one, as a new release.

    Example: marloft rollback --to 3

    Read on: docs/releases.md.
    """
    _announce(releases.rollback(var, store, to), var, wait, timeout)


def _announce(release: Release, var: Path, wait: bool, timeout_s: float) -> None:
    typer.echo(f"release {release.release} written: {release.reason}.")
    for text in warnings_of(releases_folder(var), release.release):
        typer.echo(f"warning: {text}", err=True)
    if not wait:
        return
    if not wait_until_live(var, release, lambda text: typer.echo(f"  {text}"), timeout_s=timeout_s):
        typer.echo(f"No `marloft serve` runs on {var}; one that reads it brings it live.")
        return
    typer.echo(f"release {release.release} is live.")
    for line in next_steps(release):
        typer.echo(line)


def _show(found: Plan) -> None:
    if not found.changes:
        typer.echo(f"nothing to do: release {found.newest} already says so.")
    for line in found.changes:
        typer.echo(line)
    for text in found.warnings:
        typer.echo(f"warning: {text}")
    if found.refused is not None:
        typer.echo(f"`marloft apply` would refuse: {found.refused}", err=True)
    elif found.changes:
        typer.echo(f"`marloft apply` would write release {found.newest + 1}.")


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

    Read on: docs/releases.md.
    """
    # Java and TorchServe are in the extra `serve`.
    from marloft.deploy.supervisor import serve as run_until_stopped  # noqa: PLC0415

    stop = StopSignal()
    stop.install()
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
