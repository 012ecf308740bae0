"""Reads the text files that people write, and names what no editor should have saved so.

Everything that a verb reads as text comes through here, so that a file in another encoding, a named
pipe or a folder is told in one line, whichever verb it was given to.
"""

import codecs
import os
import stat
from pathlib import Path

from marloft.errors import ConfigError

# Far more than anybody writes by hand; larger files are data, and have formats of their own.
LARGEST_BYTES = 64 << 20
_MARKS = {
    codecs.BOM_UTF8: "begins with a byte order mark; save it as UTF-8 without one",
    codecs.BOM_UTF16_LE: "is UTF-16; save it as UTF-8",
    codecs.BOM_UTF16_BE: "is UTF-16; save it as UTF-8",
}


def read_text(path: Path) -> str:
    """Return the content of a text file, as `read_utf8` checks it."""
    return read_utf8(path).decode()


def read_utf8(path: Path) -> bytes:
    """Return the bytes of a text file.

    Raises:
        ConfigError: it is missing, no regular file, not ours to read, larger than LARGEST_BYTES, or
            not UTF-8, has a byte order mark or a NUL; with the line of the first wrong byte.
    """
    data = _read_regular(path)
    check_utf8(data, str(path))
    return data


def check_utf8(data: bytes, where: str) -> None:
    """Raise ConfigError unless `data`, of the file named `where`, is plain UTF-8 text."""
    for mark, wrong in _MARKS.items():
        if data.startswith(mark):
            raise ConfigError(f"{where} {wrong}.")
    try:
        data.decode()
    except UnicodeDecodeError as error:
        place = _place(data, error.start)
        raise ConfigError(
            f"{where}: byte 0x{data[error.start]:02x} {place} is not UTF-8; save the file as UTF-8."
        ) from None
    nul = data.find(b"\0")
    if nul >= 0:
        raise ConfigError(
            f"{where}: there is a NUL byte {_place(data, nul)}; this is no text file, or UTF-16: "
            "save it as UTF-8."
        )


def _read_regular(path: Path) -> bytes:
    try:
        # A named pipe that nobody writes to would be waited for.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist; check the path.") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}; check the path.") from None
    try:
        status = os.fstat(handle)
        if stat.S_ISDIR(status.st_mode):
            raise ConfigError(f"{path} is a folder; name a file.")
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"{path} is a pipe or a device; name a file.")
        if status.st_size > LARGEST_BYTES:
            raise ConfigError(
                f"{path} has {status.st_size:,} bytes, more than {LARGEST_BYTES:,}; name a file of "
                "text that people write."
            )
        with os.fdopen(handle, "rb", closefd=False) as stream:
            return stream.read()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}; check the path.") from None
    finally:
        os.close(handle)


def _place(data: bytes, offset: int) -> str:
    line = data.count(b"\n", 0, offset) + 1
    return f"at offset {offset} (line {line})"
