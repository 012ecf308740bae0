"""`marloft keys new` and `marloft sign`: who vouches for an archive."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from marloft.archive.sign import new_keys
from marloft.archive.sign import sign as sign_archive
from marloft.archive.verify import verify
from marloft.cli.options import STORE, VAR, ArchiveArgument, JsonOption, StoreOption, VarOption
from marloft.deploy.release.names import find_archive
from marloft.errors import ArchiveError
from marloft.files import to_json

keys = typer.Typer(no_args_is_help=True, help="Make the keys that archives are signed with.")


@keys.callback()
def _group() -> None:
    """Make the keys that archives are signed with."""


@keys.command()
def new(
    out: Annotated[Path, typer.Option(help="Folder of the two files.")] = Path("keys"),
    json: JsonOption = False,
) -> None:
    """Make a key pair (EC P-256): marloft.key stays with you, marloft.pub goes to whoever verifies.

    Example: marloft keys new --out keys

    Read on: docs/archive.md.
    """
    pair = new_keys(out)
    if json:
        sys.stdout.buffer.write(to_json(pair))
    else:
        typer.echo(f"{pair.private}  private, keep it out of git and of images")
        typer.echo(f"{pair.public}  public, sha256 {pair.fingerprint}")


def sign(
    named: ArchiveArgument,
    key: Annotated[Path, typer.Option(help="The private key, marloft.key.")],
    store: StoreOption = STORE,
    var: VarOption = VAR,
    json: JsonOption = False,
) -> None:
    """Verify an archive, then sign its bytes: the signature is next to it, in ARCHIVE.sig.

    Example: marloft sign model_store/ranker-1.0.mar --key keys/marloft.key

    Read on: docs/archive.md.
    """
    archive = find_archive(named, store, var)
    failed = [check for check in verify(archive).checks if not check.ok]
    if failed:
        raise ArchiveError(
            f"{archive} is not signed: {failed[0].code}: {failed[0].message}; "
            f"`marloft verify {archive}` shows all."
        )
    signed = sign_archive(archive, key)
    if json:
        sys.stdout.buffer.write(to_json(signed))
    else:
        typer.echo(f"{signed.signature}  key sha256 {signed.fingerprint}")
