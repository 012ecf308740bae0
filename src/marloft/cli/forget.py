"""`marloft log forget`: a person's records out of the log, and the act on record."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marloft.cli.options import VAR, VarOption
from marloft.contract.segments import writer_of
from marloft.deploy.events import append_event
from marloft.logs.pseudonym import pseudonym
from marloft.logs.segments import FOLDERS

if TYPE_CHECKING:
    from marloft.logs.forget import Forgot


def forget_user(
    user: Annotated[str, typer.Option(help='The `user_id`; 7 and "7" are one.')],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would be removed, and remove nothing.")
    ] = False,
    wait_s: Annotated[
        float, typer.Option(min=0, help="Seconds that workers have to close their segments.")
    ] = 30.0,
    var: VarOption = VAR,
) -> None:
    """Remove a user's predictions and their outcomes from all segments; exit 1 when some are left.

    Example: marloft log forget --user 7

    Read on: docs/log.md.
    """
    # It closes segments as a worker does, whose imports no other verb here needs.
    from marloft.logs.forget import check_log, count, forget  # noqa: PLC0415

    if dry_run:
        found = count(var, user)
        for segment, records in found.items():
            typer.echo(f"{records} records in {segment}")
        typer.echo(f"{sum(found.values())} records of user {user} would be removed")
        return
    check_log(var, user)
    person = pseudonym(var, user)
    append_event(var, "log forget", person=person)
    done = forget(var, user, wait_s)
    append_event(var, "log forgotten", person=person, **_forgotten_facts(var, done))
    predictions, outcomes = (done.records(var / folder) for folder in FOLDERS.values())
    typer.echo(f"{predictions} predictions and {outcomes} outcomes of user {user} are removed")
    for line in _left(done):
        typer.echo(line)
    if done.untouched or done.still_open:
        raise typer.Exit(1)


def _forgotten_facts(var: Path, done: "Forgot") -> dict[str, Any]:
    """Return what goes on record: which segments, how much of each, and what they hash to."""
    rewritten = [
        {
            "segment": str(each.segment.relative_to(var)),
            "records": each.records,
            "sha256_before": each.sha256_before,
            "sha256_after": each.sha256_after,
        }
        for each in done.segments
    ]
    torn = [str(path.relative_to(var)) for path in done.torn]
    still_open = [str(path.relative_to(var)) for path in done.still_open]
    return {
        "segments": rewritten,
        "torn": torn,
        "untouched": done.untouched,
        "still_open": still_open,
    }


def _left(done: "Forgot") -> list[str]:
    lines = [f"not removed: {line}" for line in done.untouched]
    for path in done.still_open:
        writer = writer_of(path)
        who = f"process {writer.pid} of host {writer.host}" if writer else "an unknown program"
        lines.append(
            f"not removed: {path} is still written to by {who}; end it, or start `marloft serve` "
            "anew, and run this again."
        )
    return lines
