"""What a Python traceback says in one line: the user's own error, with its file and line.

It reads the text that Python writes, so that the log of a process that has ended and an exception
at hand are explained alike: chains, exception groups, SyntaxErrors, messages of several lines, and
what `faulthandler` writes when native code crashes.
https://docs.python.org/3.11/library/traceback.html
https://docs.python.org/3.11/library/faulthandler.html
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile, zip_longest
from pathlib import Path
from typing import Literal, NamedTuple

Link = Literal["", "cause", "context", "part"]

_HEADER = re.compile(r"(?:\+ )?(?:Exception Group )?Traceback \(most recent call last\):$")
_GROUP = "  + Exception Group Traceback"
_LINKS: dict[str, Link] = {
    "The above exception was the direct cause of the following exception:": "cause",
    "During handling of the above exception, another exception occurred:": "context",
}
_PART = re.compile(r"\+(?:-\+)?-{8,}(?P<number> \S+ -{8,})?$")
_FRAME = re.compile(r'  File "(?P<file>[^"]+)", line (?P<line>\d+)(?:,? in (?P<function>\S+))?')
_CRASH = "Fatal Python error: "
_CRASHED_THREAD = re.compile(r"Current thread 0x.*\(most recent call first\):$")
# What TorchServe's worker writes after a message: its own next words, and those of the next worker.
_NO_MESSAGE = re.compile(r"Backend worker process died\.|s_name_part0=")
_LIBRARY = re.compile(r".*/(?:site|dist)-packages/|.*/lib(?:64)?/python3(?:\.\d+)?/")
_UNPACKED = re.compile(r".*/models/[0-9a-f]{32}/")
_OURS = f"{Path(__file__).parent}/"
# TorchServe answers a handler's ImportError by looking for a handler of its own of that name.
_FALLBACK = "_load_default_handler"
_MOST_CHARACTERS = 400
_MOST_PARTS = 3


class Frame(NamedTuple):
    """One call of a traceback; the place of a SyntaxError has no function."""

    file: str
    line: int
    function: str | None

    @property
    def is_own(self) -> bool:
        """Whether it lies in the user's code: not in a library, in Python itself or in marloft."""
        return not (self.file.startswith(("<", _OURS)) or _LIBRARY.match(self.file))

    @property
    def place(self) -> str:
        """`FILE:LINE`: an archive's member, a path below this folder, or below its library."""
        name = _LIBRARY.sub("", _UNPACKED.sub("", self.file))
        return f"{name.removeprefix(f'{Path.cwd()}/').removeprefix(_OURS)}:{self.line}"


class Raised(NamedTuple):
    """One exception of a traceback.

    Attributes:
        error: type and message, in one line.
        frames: the calls, the innermost last.
        link: what the exception before it is to it; `part`: it is one of an exception group.
        depth: how many groups it lies in.
    """

    error: str
    frames: tuple[Frame, ...]
    link: Link
    depth: int

    @property
    def frame(self) -> Frame | None:
        """The innermost frame of the user's code, else of any file."""
        own = [frame for frame in self.frames if frame.is_own]
        named = [frame for frame in self.frames if not frame.file.startswith("<")]
        return next(reversed(own or named), None)

    @property
    def is_own(self) -> bool:
        """Whether the user's code is among its frames."""
        return any(frame.is_own for frame in self.frames)

    def __str__(self) -> str:
        """Return `ERROR (FILE:LINE in FUNCTION)`."""
        if self.frame is None:
            return self.error
        inside = f" in {self.frame.function}" if self.frame.function else ""
        return f"{self.error} ({self.frame.place}{inside})"


class Failure(NamedTuple):
    """A whole traceback: exceptions that follow from each other, the last one last.

    `line` is the place of its first line among those that it was read from.
    """

    raised: tuple[Raised, ...]
    line: int

    @property
    def is_own(self) -> bool:
        """Whether the user's code is among its frames."""
        return any(each.is_own for each in self.raised)

    @property
    def shown(self) -> Raised:
        """The last exception of the user's code; else the last one that says something."""
        return self._chain[-1]

    def __str__(self) -> str:
        """Return in one line the last exception and the one it began with, groups with parts."""
        first, last = self._chain[0], self._chain[-1]
        if first is last:
            return self._with_parts(last)
        caused = all(each.link == "cause" for each in self._chain[1:])
        link = "caused by" if caused else "after"
        return f"{self._with_parts(last)}, {link} {self._with_parts(first)}"

    @property
    def _chain(self) -> list[Raised]:
        chain = [each for each in self.raised if each.depth == 0] or list(self.raised)
        own = [each for each in chain if each.is_own]
        useful = [e for e in chain if all(frame.function != _FALLBACK for frame in e.frames)]
        return own or useful or chain

    def _with_parts(self, group: Raised) -> str:
        parts = [str(part) for part in self._parts(group)]
        if not parts:
            return str(group)
        if len(parts) > _MOST_PARTS:
            parts[_MOST_PARTS:] = [f"{len(parts) - _MOST_PARTS} more"]
        return f"{group}, holding {'; '.join(parts)}"

    def _parts(self, group: Raised) -> Iterator[Raised]:
        """Yield the last exception of each part of a group; of an inner group, of its parts."""
        after = self.raised[self.raised.index(group) + 1 :]
        inside = list(takewhile(lambda each: each.depth > group.depth, after))
        for each, following in zip_longest(inside, inside[1:]):
            is_group = following is not None and following.depth > each.depth
            is_answered = following is not None and following.link in ("cause", "context")
            if not is_group and not is_answered:
                yield each


def read_failures(lines: Sequence[str]) -> list[Failure]:
    """Return the tracebacks among lines of output, in order; one that was cut off is left out."""
    reader = _Reader()
    for number, (depth, text) in enumerate(_without_margins(lines)):
        reader.read(number, depth, text)
    return reader.end()


def _without_margins(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield each line with the number of groups around it, without the bar that a group draws."""
    in_group = False
    for line in lines:
        text = line.lstrip(" ")
        # Elsewhere a line of source may begin with one of these.
        in_group = line.startswith(_GROUP) or (in_group and text.startswith(("|", "+")))
        if in_group:
            inner = text if text.startswith("+") else text[1:].removeprefix(" ")
            yield (len(line) - len(text)) // 2 - 1, inner.rstrip()
        else:
            yield 0, line.rstrip()


@dataclass
class _Block:
    """An exception that is being read."""

    link: Link
    depth: int
    frames: list[Frame] = field(default_factory=list)
    message: list[str] = field(default_factory=list)

    def add(self, text: str) -> bool:
        """Read the next line; return whether the exception goes on behind it."""
        if self.message or not text.startswith(" "):
            self.message.append(text)
            return not _NO_MESSAGE.match(text)
        if frame := _FRAME.match(text):
            self.frames.append(_frame(frame))
        return True

    def raised(self) -> Raised | None:
        """Return what was read, None when it was cut off before its message."""
        lines = [line for line in self.message if not _NO_MESSAGE.match(line)]
        error = " ".join(" ".join(lines).split()).removeprefix("marloft.errors.")
        if len(error) > _MOST_CHARACTERS:
            error = f"{error[:_MOST_CHARACTERS]}…"
        frames = tuple(self.frames)
        return Raised(error, frames, self.link, self.depth) if error else None


@dataclass
class _Crash(_Block):
    """What `faulthandler` writes: the message first, the innermost frame first."""

    in_thread: bool = False

    def add(self, text: str) -> bool:
        frame = _FRAME.match(text)
        if self.in_thread and frame:
            self.frames.insert(0, _frame(frame))
        elif not self.message:
            self.message.append(text)
        elif self.in_thread:
            return False
        self.in_thread = self.in_thread or _CRASHED_THREAD.match(text) is not None
        return True


def _frame(found: "re.Match[str]") -> Frame:
    return Frame(found["file"], int(found["line"]), found["function"])


class _Reader:
    """Reads tracebacks line by line."""

    def __init__(self) -> None:
        self._failures: list[Failure] = []
        self._raised: list[Raised] = []
        self._began = 0
        self._link: Link = ""
        self._block: _Block | None = None

    def read(self, number: int, depth: int, text: str) -> None:
        """Read a line that lies in so many groups."""
        part = _PART.match(text)
        if part or text in _LINKS:
            self._close()
            self._link = _LINKS.get(text, "part" if part and part["number"] else "")
        elif _HEADER.match(text):
            self._open(number, _Block(self._link, depth))
        elif text.startswith(_CRASH):
            self._open(number, _Crash("", 0)).add(text)
        elif self._block is not None:
            if not self._block.add(text):
                self._close()
        elif self._link and text:
            # An exception that was never raised has no traceback.
            self._open(number, _Block(self._link, depth)).add(text)

    def end(self) -> list[Failure]:
        """Return what was read."""
        self._close()
        self._flush()
        return self._failures

    def _open(self, number: int, block: _Block) -> _Block:
        self._close()
        if not block.link:
            self._flush()
            self._began = number
        self._block, self._link = block, ""
        return block

    def _close(self) -> None:
        raised = self._block and self._block.raised()
        if raised:
            self._raised.append(raised)
        self._block = None

    def _flush(self) -> None:
        if self._raised:
            self._failures.append(Failure(tuple(self._raised), self._began))
        self._raised = []
