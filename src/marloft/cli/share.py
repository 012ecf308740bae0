"""`marloft push` and `marloft pull`: archives to and from a shared store."""

import sys
from typing import Annotated

import typer

from marloft.archive.transfer import Transfer
from marloft.archive.transfer import pull as pull_archive
from marloft.archive.transfer import push as push_archive
from marloft.cli.options import (
    STORE,
    VAR,
    ArchiveArgument,
    JsonOption,
    PublicKeyOption,
    RequireSignatureOption,
    StoreOption,
    VarOption,
    trust_policy,
)
from marloft.contract.manifest import archive_path
from marloft.deploy.release.names import find_archive, named_version
from marloft.files import to_json

UrlArgument = Annotated[
    str,
    typer.Argument(help="A folder that fsspec reaches: s3://bucket/models, file:///mnt/models."),
]


def push(
    archive: ArchiveArgument,
    url: UrlArgument,
    store: StoreOption = STORE,
    var: VarOption = VAR,
    json: JsonOption = False,
) -> None:
    """Copy an archive, its sidecar and its signature to a shared folder.

    Example: marloft push ranker@2.0 s3://bucket/models

    Read on: docs/archive.md.
    """
    _print(push_archive(find_archive(archive, store, var), url), json)


def pull(
    version: Annotated[str, typer.Argument(help="The version: ranker@2.0 or ranker@champion.")],
    url: UrlArgument,
    public_key: PublicKeyOption = None,
    require_signature: RequireSignatureOption = False,
    store: StoreOption = STORE,
    var: VarOption = VAR,
    json: JsonOption = False,
) -> None:
    """Copy an archive from a shared folder into the store, once it is verified; runs no code.

    Example: marloft pull ranker@2.0 s3://bucket/models --public-key keys/marloft.pub

    Read on: docs/archive.md.
    """
    name, number = named_version(version, var)
    policy = trust_policy(public_key, required=require_signature)
    _print(pull_archive(archive_path(store, name, number), url, policy), json)


def _print(transfer: Transfer, json: bool) -> None:
    if json:
        sys.stdout.buffer.write(to_json(transfer))
    else:
        copied = ", ".join(transfer.copied) or "nothing: both sides have it"
        typer.echo(f"{transfer.archive}  {transfer.url}  sha256 {transfer.sha256}\ncopied {copied}")
