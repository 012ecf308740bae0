"""Who may read what was written, whatever the umask."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Write under another umask as long as the block lasts."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    """Return the permission bits of a path."""
    return stat.S_IMODE(path.stat().st_mode)


def open_to_others(folder: Path) -> list[Path]:
    """Return what lies in a folder and somebody else could open, the folder too."""
    found = [folder, *folder.rglob("*")]
    return [path for path in found if not path.is_symlink() and mode(path) & 0o077]
