"""Finds pickles by their opcodes: at the first byte of a file, or anywhere in it.

Reading a pickle runs whatever it names. Since protocol 2 one begins with two bytes that say so;
older ones are known by what they call. Opcodes: Python's `pickletools`.
"""

import io
import pickletools
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath
from typing import IO, Any

from marloft.archive.checks.members import WORKER_PACKAGES

_SUFFIXES = frozenset({".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt", ".dill"})
# How far a pickle is followed from where it seems to begin.
AHEAD = 1 << 16
_MOST_OPCODES = 10_000
_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
_BEGIN = re.compile(rb"\x80[\x02-\x05]")
# `c` and `i` are followed by the module and the name of what is called, each on a line.
_OLD_NAME = re.compile(rb"[ci]([A-Za-z_]\w*)(?:\.\w+)*\n[A-Za-z_][\w.]*\n")
_IDENTIFIER = re.compile(r"[A-Za-z_][\w.]+\Z")
_LEGACY_MODULES = {"__builtin__", "copy_reg", "nt", "posix", "cPickle", "commands"}
_KNOWN_MODULES = sys.stdlib_module_names | WORKER_PACKAGES | _LEGACY_MODULES
_STRINGS = {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
_CODES = {"EXT1", "EXT2", "EXT4"}
_ARGUMENTS = {"MARK", "EMPTY_TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}
_CALLS = {"REDUCE", "OBJ", "NEWOBJ", "NEWOBJ_EX"}
_LEAST_OPCODES = 4
# What TorchScript's own reader makes of the names in its pickles; it imports none of them.
_TORCHSCRIPT_NAME = re.compile(
    r"__torch__(?:\.\S+)? \S+|torch \w+Storage|torch\._utils _rebuild\w+|torch\.jit\._pickle \w+"
    r"|collections OrderedDict"
)


def named_as_pickle(names: Iterable[str]) -> bool:
    """Whether one of a file's names ends as the names of pickles do."""
    return any(PurePosixPath(name).suffix.lower() in _SUFFIXES for name in names)


def begins_as_pickle(head: bytes, *, whole: bool) -> bool:
    """Whether a file is a pickle from its first byte on.

    Args:
        head: its first bytes, AHEAD of them or all.
        whole: whether these are all.
    """
    opcodes = [opcode for opcode, _ in _opcodes(head)]
    if _BEGIN.match(head):
        ends = "STOP" in opcodes or len(opcodes) == _MOST_OPCODES or not whole
        return _names_something(head) or (ends and len(opcodes) > 1)
    text = head.rstrip()
    ends = whole and opcodes[-1:] == ["STOP"] and text.endswith(b".")
    return _calls_something(head) or (ends and len(opcodes) >= _LEAST_OPCODES)


def pickle_offset(data: bytes) -> int | None:
    """Return where in `data` a pickle begins that names what is to be called, None if nowhere."""
    for found in _BEGIN.finditer(data):
        if _names_something(data[found.start() : found.start() + AHEAD]):
            return found.start()
    for found in _OLD_NAME.finditer(data):
        known = found[1].decode() in _KNOWN_MODULES
        if known and _calls_something(data[found.start() : found.start() + AHEAD]):
            return found.start()
    return None


def foreign_to_torchscript(stream: IO[bytes]) -> str | None:
    """Return a name in a pickle of a TorchScript file that TorchScript never writes, else None."""
    for opcode, argument in _opcodes(stream, _MOST_OPCODES**2):
        if opcode in {"STACK_GLOBAL", *_CODES}:
            return opcode
        if opcode in {"GLOBAL", "INST"} and not _TORCHSCRIPT_NAME.fullmatch(str(argument)):
            return str(argument)
    return None


def _opcodes(data: bytes | IO[bytes], most: int = _MOST_OPCODES) -> Iterator[tuple[str, Any]]:
    """Yield opcode and argument up to STOP, as far as they can be followed."""
    stream = io.BytesIO(data) if isinstance(data, bytes) else data
    for _ in range(most):
        opcode = _OPCODES.get(stream.read(1).decode("latin-1"))
        if opcode is None:
            return
        try:
            argument = _argument(opcode, stream)
        except (ValueError, LookupError, OverflowError, MemoryError):
            return
        yield opcode.name, argument
        if opcode.name == "STOP":
            return


def _argument(opcode: pickletools.OpcodeInfo, stream: IO[bytes]) -> Any:
    # pickletools decodes escapes in these, and Python warns of those that it does not know.
    if opcode.name in {"STRING", "PERSID"}:
        return _line(stream)
    if opcode.name in {"GLOBAL", "INST"}:
        return f"{_line(stream)} {_line(stream)}"
    return None if opcode.arg is None else opcode.arg.reader(stream)


def _line(stream: IO[bytes]) -> str:
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise ValueError("no newline")
    return line[:-1].decode("ascii")


def _names_something(data: bytes) -> bool:
    """Whether a pickle of protocol 2 or later names a function or a class."""
    strings = 0
    for opcode, argument in _opcodes(data):
        if opcode in _STRINGS:
            strings += bool(_IDENTIFIER.match(argument))
        elif opcode in {"GLOBAL", "INST"}:
            if all(map(_IDENTIFIER.match, str(argument).split(" "))):
                return True
        # The strings may also come from the memo, so that their order says nothing.
        elif opcode == "STACK_GLOBAL" and strings > 1:
            return True
    return False


def _calls_something(data: bytes) -> bool:
    """Whether older opcodes name a function or a class, and then call it.

    In a text such as a list of words the first alone is common: `cos`, `tan`, each on its line.
    """
    seen: set[str] = set()
    for opcode, argument in _opcodes(data):
        if opcode in {"GLOBAL", "INST"} and str(argument).split(".")[0].split(" ")[0] in (
            _KNOWN_MODULES
        ):
            seen.add(opcode)
        elif "GLOBAL" in seen and opcode in _ARGUMENTS:
            seen.add("arguments")
        elif (opcode in _CALLS and "arguments" in seen) or (opcode == "STOP" and "INST" in seen):
            return True
    return False
