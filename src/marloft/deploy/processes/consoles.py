"""The files that processes write their consoles to: bounded, although nobody rotates them."""

import os
import shutil
from pathlib import Path

MOST_BYTES = 10 << 20


def bound_console(path: Path, most_bytes: int = MOST_BYTES) -> None:
    """Empty a console's file that is too long; the text before is kept once, as `<path>.1`.

    Its process goes on writing to the same file: it was opened for appending. What it writes in
    between is lost; where there is no room for the older text, that is too.

    Raises:
        OSError: the file cannot be emptied.
    """
    try:
        if path.stat().st_size <= most_bytes:
            return
    except FileNotFoundError:
        return
    older = path.with_name(path.name + ".1")
    try:
        shutil.copyfile(path, older)
    except OSError:
        older.unlink(missing_ok=True)
    os.truncate(path, 0)
