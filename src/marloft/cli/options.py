"""Options and arguments that several verbs take, each said once."""

from pathlib import Path
from typing import Annotated

import typer

from marloft.contract.policy import TrustPolicy

StoreOption = Annotated[Path, typer.Option("--store", help="The model store.")]
VarOption = Annotated[
    Path, typer.Option("--var", envvar="MARLOFT_VAR", help="Folder of releases and logs.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
ArchiveArgument = Annotated[
    str, typer.Argument(help="A model archive: its path, or ranker@2.0 or ranker@champion.")
]
PublicKeyOption = Annotated[
    Path | None, typer.Option(help="Check the signature next to it with this key.")
]
RequireSignatureOption = Annotated[
    bool, typer.Option("--require-signature", help="Refuse an archive that is not signed.")
]
STORE = Path("model_store")
VAR = Path("var")


def trust_policy(public_key: Path | None, *, required: bool) -> TrustPolicy:
    """Return what the options about signatures ask for."""
    return TrustPolicy(
        signature="required" if required else "optional",
        public_key=None if public_key is None else str(public_key),
    )
