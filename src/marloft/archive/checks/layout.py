"""The layout of a zip file: it holds nothing that its directory does not list.

Python reads a zip file's directory, TorchServe's front end the members one after the other from
the first byte on. Where the two could see different members, what was verified would not be what
runs. Layout of a zip file: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3.
"""

import os
import struct
import zipfile
import zlib
from pathlib import Path

# What reading a member of a damaged archive raises.
UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    RuntimeError,
    NotImplementedError,
    OverflowError,
    UnicodeError,
    ValueError,
    struct.error,
)

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_SIZES_FOLLOW = 0x8
# Local file header: signature, version, flags, method, time, date, crc, sizes, name, extra.
_HEADER = struct.Struct("<4s5HI2I2H")
_SIGNATURE = b"PK\x03\x04"
# End of central directory: signature, four numbers, size, offset, length of the comment.
_END = struct.Struct("<4s4H2IH")
_END_SIGNATURE = b"PK\x05\x06"
_IN_EXTRA = 0xFFFFFFFF


def layout_fault(archive: zipfile.ZipFile, path: Path) -> tuple[str, str] | None:
    """Return the member at fault and why, None when directory and members agree exactly."""
    position = 0
    with path.open("rb") as stream:
        for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
            if info.compress_type not in _METHODS or info.flag_bits & (_ENCRYPTED | _SIZES_FOLLOW):
                return info.filename, "is neither stored nor deflated, encrypted or of open size"
            if info.header_offset != position:
                return info.filename, "does not begin where the member before it ends"
            stream.seek(position)
            header = stream.read(_HEADER.size)
            if len(header) < _HEADER.size:
                return info.filename, "is cut short"
            signature, _, flags, method, _, _, _, size, _, name, extra = _HEADER.unpack(header)
            agree = (signature, flags, method) == (_SIGNATURE, info.flag_bits, info.compress_type)
            if not agree or size not in (info.compress_size, _IN_EXTRA):
                return info.filename, "is described differently by its header and the directory"
            position += _HEADER.size + name + extra + info.compress_size
    if position != archive.start_dir or not _ends_with_directory(path):
        return path.name, "holds data that its directory does not list, or a comment"
    return None


def _ends_with_directory(path: Path) -> bool:
    """Whether the last bytes are the directory's end record without a comment."""
    with path.open("rb") as stream:
        stream.seek(-_END.size, os.SEEK_END)
        signature, *_, comment_length = _END.unpack(stream.read(_END.size))
    return (signature, comment_length) == (_END_SIGNATURE, 0)
