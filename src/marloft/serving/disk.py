"""Whether a batch of records can be written, as far as the file system tells without one."""

import errno
import os
import tempfile
from pathlib import Path

# A batch of records; with less room the next one fails.
ROOM_BYTES = 64 << 10


def is_deleted(file: int) -> bool:
    """Whether an open file has no name any more: the kernel takes what is written all the same."""
    try:
        return os.fstat(file).st_nlink == 0
    except OSError:
        # A network file system says so with an error (ESTALE).
        return True


def check_room(file: int) -> None:
    """Raise the OSError that the next write to an open file would meet."""
    found = os.fstatvfs(file)
    if found.f_flag & os.ST_RDONLY:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))
    # Some blocks are kept for root; a file system that counts none says 0 of 0.
    free = found.f_bfree if os.geteuid() == 0 else found.f_bavail
    if found.f_blocks and free * found.f_frsize < ROOM_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def write_and_forget(folder: Path) -> None:
    """Write what a batch would, to a file without a name: a quota shows in no count of blocks.

    Raises:
        OSError: it cannot be written.
    """
    with tempfile.TemporaryFile(dir=folder, buffering=0) as scratch:
        scratch.write(bytes(ROOM_BYTES))
        os.fdatasync(scratch.fileno())
