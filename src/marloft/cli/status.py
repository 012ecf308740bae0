"""`marloft status`, `list`, `gc`, `history`: what is live, what is in the store, who decided."""

import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from marloft.cli.options import STORE, VAR, JsonOption, StoreOption, VarOption
from marloft.contract.live import WatchState
from marloft.contract.release import read_release, releases_folder
from marloft.deploy.ports import Ports
from marloft.deploy.release.plan import changes_of
from marloft.deploy.status import Status, read_status
from marloft.deploy.store import delete, find_garbage, list_store
from marloft.files import to_json

PIPE_WIDTH = 250


def status(
    var: VarOption = VAR,
    port_offset: Annotated[int, typer.Option(help="Added to the ports, as for serve.")] = 0,
    json: JsonOption = False,
) -> None:
    """Compare the newest release with what TorchServe and the gateway really run.

    Example: marloft status --json

    Exit status 0: what runs is what the release says, 1: it is not or not yet, 2: nothing runs.
    Read on: docs/releases.md.
    """
    found = read_status(var, Ports(offset=port_offset))
    if json:
        sys.stdout.buffer.write(to_json(found))
    else:
        _show(found)
    if found.exit_code:
        raise typer.Exit(found.exit_code)


def list_archives(
    store: StoreOption = STORE, var: VarOption = VAR, json: JsonOption = False
) -> None:
    """List the archives of the model store, and which release names each of them.

    Example: marloft list --json

    Read on: docs/releases.md.
    """
    found = list_store(store, var)
    if json:
        sys.stdout.buffer.write(to_json(found))
        return
    table = _table("archive", "version", "sha256", "bytes", "release", "role")
    for each in found:
        table.add_row(
            escape(each.name or each.file),
            each.version or "",
            each.sha256[:12],
            f"{each.size_bytes:,}",
            str(each.release or ""),
            each.role,
        )
    _print(table)


def gc(
    keep: Annotated[
        int, typer.Option(min=0, help="Versions of each model that stay in any case.")
    ] = 3,
    remove: Annotated[
        bool, typer.Option("--delete", help="Delete them; without it they are only shown.")
    ] = False,
    store: StoreOption = STORE,
    var: VarOption = VAR,
    json: JsonOption = False,
) -> None:
    """Show, or delete, archives that no release names; files that are not marloft's stay.

    Example: marloft gc --keep 2 --delete

    Read on: docs/releases.md.
    """
    found = find_garbage(store, var, keep=keep)
    if remove:
        delete(store, found)
    if json:
        sys.stdout.buffer.write(to_json(found))
        return
    for each in found:
        typer.echo(f"{'deleted' if remove else 'garbage'}: {each.file}  {each.size_bytes:,} bytes")
    size = sum(each.size_bytes for each in found)
    hint = "" if remove or not found else "; delete with `marloft gc --delete`"
    typer.echo(f"{len(found)} archives, {size:,} bytes{hint}")


def history(
    release: Annotated[
        int | None, typer.Argument(help="Show what this release changed.", min=1)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many releases, newest first.")] = 20,
    var: VarOption = VAR,
    json: JsonOption = False,
) -> None:
    """List the releases: when, by whom, how and why; or what one of them changed.

    Example: marloft history 7

    Read on: docs/releases.md.
    """
    folder = releases_folder(var)
    newest = read_release(folder).release
    numbers = [release] if release is not None else range(newest, max(0, newest - limit), -1)
    found: list[dict[str, Any]] = [
        {
            "release": each.release,
            "time": each.time,
            "actor": each.actor,
            "verb": each.verb,
            "reason": each.reason,
            "changes": changes_of(folder, each.release),
        }
        for each in (read_release(folder, number) for number in numbers)
    ]
    if json:
        sys.stdout.buffer.write(to_json(found))
        return
    table = _table("release", "time", "by", "verb", "reason")
    for entry in found:
        # Seconds are enough for people; --json has the rest.
        shown = entry | {"time": f"{entry['time'][:19]}Z"}
        row = (shown[key] for key in ("release", "time", "actor", "verb", "reason"))
        table.add_row(*(escape(str(value)) for value in row))
    _print(table)
    if release is not None:
        for line in changes_of(folder, release):
            typer.echo(line)


def _show(found: Status) -> None:
    typer.echo(f"release {found.release}: {found.reason}")
    table = _table("model", "version", "role", "sha256", "workers", "checked")
    for each in found.versions:
        checked = each.checked.state if each.checked is not None else "?"
        row = (each.model, each.version, each.role, each.sha256[:12], each.workers or "?", checked)
        table.add_row(*row)
    _print(table)
    for line in found.rollouts:
        typer.echo(line)
    for name, watch in found.watches.items():
        _show_watch(name, watch)
    for line in found.drift:
        typer.echo(f"! {line}")
    if not found.serving:
        typer.echo("no `marloft serve` runs here: nothing is live.")
    elif not found.drift:
        typer.echo("live: what runs is what the release says.")


def _show_watch(name: str, watch: WatchState) -> None:
    typer.echo(
        f"{name} {watch.version} at {watch.percent} %: held {watch.held_s:.0f} of "
        f"{watch.hold_s:g} s, {watch.answered} of {watch.min_requests} requests"
    )
    if watch.set_aside:
        typer.echo(
            f"{watch.set_aside} looks set aside: more requests came than could be answered, or "
            f"too many for {watch.version} by name"
        )
    if not watch.readings:
        return
    table = _table("guardrail", watch.version, "control", "limit", "evidence", "")
    for reading in watch.readings:
        table.add_row(
            reading.guardrail,
            _figure(reading.value),
            _figure(reading.control),
            _figure(reading.limit),
            _figure(reading.evidence),
            "BROKEN" if reading.broken else "ok",
        )
    _print(table)


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False)


def _print(table: Table) -> None:
    """Print as wide as the terminal; to a file or pipe so wide that nothing is cut."""
    terminal = Console()
    console = terminal if terminal.is_terminal else Console(width=PIPE_WIDTH)
    console.print(table, highlight=False)
