"""The gateway's route file on disk: put in place, and what it says of itself."""

from pathlib import Path

import msgspec
from msgspec import Struct

from marloft.files import write_atomic


def routes_label(content: bytes) -> str:
    """Return what a route file says it was rendered from, "" when it cannot be read."""
    try:
        return msgspec.json.decode(content, type=_Rendered).version_info
    except msgspec.DecodeError:
        return ""


class _Rendered(Struct, frozen=True, kw_only=True):
    version_info: str


def write_routes(path: Path, content: bytes) -> None:
    """Put a route file in place by rename, which is what Envoy watches the folder for."""
    write_atomic(path, content)
