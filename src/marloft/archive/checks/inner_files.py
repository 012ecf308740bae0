"""Opens what a file holds inside: compressed data at any place in it, members of zip and tar files.

It writes nothing to names of its own: what is unpacked lies in memory or an unnamed file.
"""

import bz2
import lzma
import re
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, cast

from marloft.archive.checks.layout import UNREADABLE
from marloft.archive.checks.windows import windows

_BLOCK = 1 << 20
_IN_MEMORY = 16 << 20
_LONGEST_MAGIC = 10
_BROKEN = (*UNREADABLE, lzma.LZMAError, tarfile.TarError)
_COMPRESSED = re.compile(rb"\x1f\x8b\x08|\xfd7zXZ\x00|BZh[1-9]1AY&SY")
_EXPANDERS: dict[bytes, tuple[str, Callable[[IO[bytes]], Iterator[bytes]]]] = {
    b"\x1f": ("gzip", lambda stream: _inflated(stream, zlib.MAX_WBITS | 16)),
    b"\xfd": ("xz", lambda stream: _expanded(stream, lzma.LZMADecompressor())),
    b"B": ("bzip2", lambda stream: _expanded(stream, bz2.BZ2Decompressor())),
}
# Nothing in Python's library reads these.
_UNREAD = {
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"\x04\x22\x4d\x18": "LZ4",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"Rar!\x1a\x07": "RAR",
    b"\xff\x06\0\0sNaPpY": "Snappy",
}
_ZLIB_METHOD, _ZLIB_CHECK = 0x78, 31
_TAR_MARK, _TAR_AT = b"ustar", 257
# As many bytes as are needed to tell what a file is.
_HEAD = 512


class TooLargeError(ValueError):
    """What is compressed unpacks to more than anybody stores for a reason."""


class Budget:
    """How many bytes may still be unpacked from one file, at all depths together."""

    def __init__(self, left: int) -> None:
        self._left = left

    def take(self, count: int) -> None:
        """Raise TooLargeError when `count` bytes more are too many."""
        self._left -= count
        if self._left < 0:
            raise TooLargeError("unpacks to more than 100 times its size: a bomb")


def unread_compression(head: bytes) -> str | None:
    """Return the name of a compression that cannot be looked into, None for any other content."""
    return next((name for magic, name in _UNREAD.items() if head.startswith(magic)), None)


def inner_files(stream: IO[bytes], budget: Budget) -> Iterator[tuple[str, str, IO[bytes]]]:
    """Yield kind, name (`""` for what is only compressed) and content of each file inside.

    Args:
        stream: a file, seekable.
        budget: what may be unpacked.

    Raises:
        TooLargeError: the budget is spent.
    """
    stream.seek(0)
    head = stream.read(_HEAD)
    if zipfile.is_zipfile(stream):
        yield from _members_of_zip(stream, budget)
        return
    if head[_TAR_AT:].startswith(_TAR_MARK):
        yield from _members_of_tar(stream, budget)
        return
    if len(head) > 1 and head[0] == _ZLIB_METHOD and int.from_bytes(head[:2]) % _ZLIB_CHECK == 0:
        stream.seek(0)
        yield from _unpacked("zlib", _inflated(stream, zlib.MAX_WBITS), budget)
    # Each part of what was compressed in several has an offset of its own.
    for offset in _offsets(stream):
        stream.seek(offset)
        kind, expanded = _EXPANDERS[stream.read(1)]
        stream.seek(offset)
        yield from _unpacked(kind, expanded(stream), budget)


def _members_of_zip(stream: IO[bytes], budget: Budget) -> Iterator[tuple[str, str, IO[bytes]]]:
    with zipfile.ZipFile(stream) as archive:
        for info in archive.infolist():
            budget.take(info.file_size)
            if not info.is_dir():
                with archive.open(info) as member:
                    yield "zip", info.filename, member


def _members_of_tar(stream: IO[bytes], budget: Budget) -> Iterator[tuple[str, str, IO[bytes]]]:
    stream.seek(0)
    try:
        with tarfile.open(fileobj=stream) as archive:
            for info in archive:
                # A sparse file is as long as it says, whatever the archive holds of it.
                budget.take(info.size)
                member = archive.extractfile(info) if info.isfile() else None
                if member is not None:
                    yield "tar", info.name, member
    except tarfile.TarError:
        return


def _offsets(stream: IO[bytes]) -> Iterator[int]:
    """Yield where compressed data may begin."""
    for window in windows(stream, _LONGEST_MAGIC):
        for found in _COMPRESSED.finditer(window.data):
            if found.end() > window.known:
                yield window.offset + found.start()


def _inflated(stream: IO[bytes], window_bits: int) -> Iterator[bytes]:
    inflate = zlib.decompressobj(window_bits)
    while not inflate.eof and (block := inflate.unconsumed_tail or stream.read(_BLOCK)):
        yield inflate.decompress(block, _BLOCK)


def _expanded(
    stream: IO[bytes], expander: bz2.BZ2Decompressor | lzma.LZMADecompressor
) -> Iterator[bytes]:
    while not expander.eof:
        block = stream.read(_BLOCK) if expander.needs_input else b""
        if expander.needs_input and not block:
            return
        yield expander.decompress(block, _BLOCK)


def _unpacked(
    kind: str, blocks: Iterator[bytes], budget: Budget
) -> Iterator[tuple[str, str, IO[bytes]]]:
    """Yield what is unpacked until it breaks off; nothing when it never was compressed data."""
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as unpacked:
        try:
            for block in blocks:
                budget.take(len(block))
                unpacked.write(block)
        except TooLargeError:
            raise
        except _BROKEN:
            # Two bytes that look like a beginning are common, and a cut one may hide something.
            pass
        if unpacked.tell():
            yield kind, "", cast(IO[bytes], unpacked)
