"""What `pack` asks of each file before it becomes a member."""

import io
from pathlib import Path
from typing import IO

from marloft.archive.checks.hidden_code import PICKLE, hidden_code
from marloft.archive.checks.secrets import secret_in, secret_name
from marloft.errors import ArchiveError


def screen(
    member: str, source: Path | bytes, *, is_artifact: bool = False, is_named: bool = False
) -> None:
    """Refuse a member that looks like a secret or holds code that is no source.

    An artifact's content is not searched for secrets: it is what an export wrote, by its sidecar.
    One that is `is_named` among the archive's `executables` may be a program.

    Raises:
        ArchiveError: with the member's name, and what was found in it.
    """
    names = {member} if isinstance(source, bytes) else {member, source.name}
    if any(map(secret_name, names)):
        raise ArchiveError(
            f"member {member!r} has the name of a file with secrets; an archive is copied and "
            "kept, so leave it out and give secrets to the worker's environment."
        )
    with _opened(source) as stream:
        code = hidden_code(names, stream, is_artifact=is_artifact)
        if code is not None and code.code == PICKLE:
            raise ArchiveError(
                f"member {member!r} is {code.what}; reading a pickle runs code: use ONNX, "
                "TorchScript, NumPy arrays or JSON."
            )
        if code is not None and not is_named:
            raise ArchiveError(
                f"member {member!r} is {code.what}; a worker could run it, and nobody can read it: "
                "leave it out, install it as a package that `requirements` names, or name it under "
                "`executables`."
            )
        found = None if is_artifact else secret_in(stream)
    if found is not None:
        raise ArchiveError(
            f"member {member!r} holds {found}; take it out, and replace it where it was valid."
        )


def _opened(source: Path | bytes) -> IO[bytes]:
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
