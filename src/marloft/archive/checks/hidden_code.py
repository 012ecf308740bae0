"""Finds code that nobody reads as source: pickles and programs, also inside of other files.

Allowed are source (`.py`), the artifact, and data and documents of any kind that hold no code. What
lies in zip and tar files and in what gzip, bzip2, xz and zlib made is searched in the same way.
"""

import os
import zipfile
from collections.abc import Collection
from pathlib import PurePosixPath
from typing import IO, NamedTuple

from numpy.lib import format as npy

from marloft.archive.checks.executables import (
    executable_anywhere,
    executable_first,
    executable_name,
)
from marloft.archive.checks.inner_files import (
    Budget,
    TooLargeError,
    inner_files,
    unread_compression,
)
from marloft.archive.checks.pickles import (
    AHEAD,
    begins_as_pickle,
    foreign_to_torchscript,
    named_as_pickle,
    pickle_offset,
)
from marloft.archive.checks.windows import windows

PICKLE, EXECUTABLE = "MRL018", "MRL024"
_BOMB_RATIO, _BOMB_FLOOR = 100, 64 << 20
_DEEPEST = 5
_NUMPY = b"\x93NUMPY"
_ZIP = b"PK\x03\x04"
# The folders of a TorchScript file whose members are bare numbers.
_TENSORS = {"data", "constants"}


class HiddenCode(NamedTuple):
    """What was found: the code of its check, and in words what it is."""

    code: str
    what: str


def hidden_code(
    names: Collection[str], stream: IO[bytes], *, is_artifact: bool = False
) -> HiddenCode | None:
    """Return the first code that a file holds and nobody would read as such, None if there is none.

    Args:
        names: every name it has, in the archive and outside.
        stream: its content, seekable.
        is_artifact: whether it is what an export wrote; then numbers that look like code are not
            searched, since its runtime alone reads it.

    Raises:
        OSError, ValueError or zipfile's own: it is a damaged zip file.
    """
    budget = Budget(max(_BOMB_FLOOR, _BOMB_RATIO * stream.seek(0, os.SEEK_END)))
    try:
        return _search(names, stream, budget, scan=not is_artifact)
    except TooLargeError as error:
        return HiddenCode(PICKLE, f"a file that {error}")


def _search(
    names: Collection[str], stream: IO[bytes], budget: Budget, *, scan: bool, depth: int = 0
) -> HiddenCode | None:
    stream.seek(0)
    head = stream.read(AHEAD)
    is_zip = head.startswith(_ZIP) and zipfile.is_zipfile(stream)
    if is_zip and (torchscript := _torchscript(stream)):
        return _in_torchscript(stream, torchscript, budget, depth)
    found = _by_form(names, stream, head, is_zip=is_zip)
    if found is not None or not (scan or is_zip):
        return found
    return _anywhere(stream) or _inside(stream, budget, depth)


def _by_form(
    names: Collection[str], stream: IO[bytes], head: bytes, *, is_zip: bool
) -> HiddenCode | None:
    """Tell by a file's names and first bytes what it is."""
    for name in names:
        if (what := executable_name(name) or executable_first(head, name)) is not None:
            return HiddenCode(EXECUTABLE, what)
    if head.startswith(_NUMPY):
        is_objects = _holds_objects(stream)
        return HiddenCode(PICKLE, "a NumPy array of Python objects") if is_objects else None
    if begins_as_pickle(head, whole=len(head) < AHEAD):
        return HiddenCode(PICKLE, "a pickle")
    if named_as_pickle(names) and not is_zip:
        return HiddenCode(PICKLE, "a pickle by its name")
    opaque = unread_compression(head)
    if opaque is not None:
        return HiddenCode(PICKLE, f"compressed by {opaque}, which cannot be looked into")
    return None


def _anywhere(stream: IO[bytes]) -> HiddenCode | None:
    for window in windows(stream, AHEAD):
        program = executable_anywhere(window.data)
        if program is not None:
            at, what = program
            return HiddenCode(EXECUTABLE, f"{what}, at byte {window.offset + at:,}")
        pickle = pickle_offset(window.data)
        if pickle is not None:
            return HiddenCode(PICKLE, f"a pickle, at byte {window.offset + pickle:,}")
    return None


def _inside(stream: IO[bytes], budget: Budget, depth: int) -> HiddenCode | None:
    for kind, name, inner in inner_files(stream, budget):
        if depth == _DEEPEST:
            return HiddenCode(PICKLE, f"compressed or packed more than {_DEEPEST} times")
        found = _search([name] if name else [], inner, budget, scan=True, depth=depth + 1)
        if found is not None:
            holder = f"{kind}: {name} is {found.what}" if name else f"{kind} of {found.what}"
            return HiddenCode(found.code, f"a file of {holder}")
    return None


def _torchscript(stream: IO[bytes]) -> str | None:
    """Return the folder in a zip file that TorchScript wrote, None in any other zip file."""
    with zipfile.ZipFile(stream) as content:
        folders = (PurePosixPath(name).parts for name in content.namelist())
        return next((parts[0] for parts in folders if parts[1:] == ("constants.pkl",)), None)


def _in_torchscript(
    stream: IO[bytes], folder: str, budget: Budget, depth: int
) -> HiddenCode | None:
    """Search what TorchScript's reader does not read by itself; its pickles run no Python."""
    for _, name, inner in inner_files(stream, budget):
        parts = PurePosixPath(name).parts
        if parts[:1] == (folder,) and name.endswith("pkl"):
            foreign = foreign_to_torchscript(inner)
            if foreign is not None:
                what = f"a TorchScript file whose {name} names {foreign}"
                return HiddenCode(PICKLE, what)
        elif parts[:1] != (folder,) or not set(parts[1:2]) & _TENSORS:
            found = _search([name], inner, budget, scan=True, depth=depth + 1)
            if found is not None:
                return HiddenCode(found.code, f"a TorchScript file whose {name} is {found.what}")
    return None


def _holds_objects(stream: IO[bytes]) -> bool:
    """Whether a NumPy array has Python objects, by its header."""
    stream.seek(0)
    version = npy.read_magic(stream)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    return bool(read_header(stream)[-1].hasobject)
