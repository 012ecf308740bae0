"""`marloft plan`: what `apply` would do, without doing it."""

from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from marloft.contract.release import read_release, releases_folder
from marloft.deploy.release.answers import changed_answers
from marloft.deploy.release.decisions import check_proposal, propose
from marloft.deploy.release.differences import differences, warnings
from marloft.deploy.release.resolve import resolve
from marloft.errors import ReleaseError


class Plan(Struct, frozen=True, kw_only=True):
    """What the next release would change after `newest` (0: there is none yet).

    `warnings` do not hinder `apply`; `refused` is why it would write nothing.
    """

    newest: int
    changes: list[str]
    warnings: list[str] = []
    refused: str | None = None


def make_plan(
    deployment_file: Path,
    store: Path,
    var: Path,
    *,
    reassign: bool = False,
    force: bool = False,
    no_rollout: bool = False,
) -> Plan:
    """Return what `write.apply` would do with the same arguments; writes nothing.

    Raises:
        ConfigError: the file is wrong.
        ReleaseError: an archive is missing or refused.
    """
    wanted = resolve(deployment_file, store, no_rollout=no_rollout)
    proposal = propose(deployment_file, releases_folder(var), wanted)
    draft, current = proposal.draft, proposal.current
    if draft is None:
        return Plan(newest=proposal.newest, changes=[])
    found = Plan(
        newest=proposal.newest,
        changes=differences(current, draft),
        warnings=warnings(current, draft) + changed_answers(store, current, draft),
    )
    try:
        check_proposal(proposal, reassign=reassign, force=force)
    except ReleaseError as error:
        return replace(found, refused=str(error))
    return found


def changes_of(folder: Path, number: int) -> list[str]:
    """Return what release `number` changed after the one before; all of it for the first.

    Raises:
        ReleaseError: there is no such release.
    """
    before = read_release(folder, number - 1) if number > 1 else None
    return differences(before, read_release(folder, number))


def warnings_of(folder: Path, number: int) -> list[str]:
    """Return what of release `number` TorchServe takes only at its next start."""
    before = read_release(folder, number - 1) if number > 1 else None
    return warnings(before, read_release(folder, number))
