"""Reads a file in parts that overlap, so that nothing that is looked for is cut in two."""

from collections.abc import Iterator
from typing import IO, NamedTuple

_BLOCK = 1 << 20


class Window(NamedTuple):
    """A part of a file: `data` begins at `offset`, and its first `known` bytes came before."""

    offset: int
    data: bytes
    known: int


def windows(stream: IO[bytes], overlap: int) -> Iterator[Window]:
    """Yield the content from its beginning, whoever moves in the stream meanwhile.

    Memory is independent of its size.
    """
    position, tail = 0, b""
    while True:
        stream.seek(position)
        block = stream.read(_BLOCK)
        if not block:
            return
        data = tail + block
        yield Window(position - len(tail), data, len(tail))
        position += len(block)
        tail = data[-overlap:]
