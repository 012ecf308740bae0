"""What an archive brings to run that nobody reads as source: compiled code, programs, hooks.

The unpacked archive is first on a worker's path, so Python imports what has the right name there:
compiled modules in place of their source, and `sitecustomize` without being asked
(https://docs.python.org/3/library/site.html).
"""

import re
from pathlib import PurePosixPath

_SOURCE = ".py"
_COMPILED = re.compile(r".*\.(?:py[cod]|so(?:\.\d+)*|dll|dylib|egg|whl|jar)\Z", re.IGNORECASE)
_PROGRAMS = re.compile(r".*\.(?:exe|bat|cmd|ps1|scr|com)\Z", re.IGNORECASE)
_HOOKS = ("sitecustomize", "usercustomize")
# ELF: magic, class, byte order, version. PE: magic and machine. Mach-O: magic and processor.
_ANYWHERE: dict[bytes, tuple[re.Pattern[bytes], str]] = {
    b"\x7fELF": (re.compile(rb"\x7fELF[\x01\x02][\x01\x02]\x01"), "an ELF program"),
    b"PE\0\0": (re.compile(rb"PE\0\0(?:\x64\x86|\x4c\x01|\x64\xaa|\xc4\x01)"), "a Windows program"),
    b"\xfa\xed\xfe": (
        re.compile(rb"[\xce\xcf]\xfa\xed\xfe[\x07\x0c]\0\0[\0\x01]"),
        "a macOS program",
    ),
}
_FIRST: dict[bytes, str] = {b"\xca\xfe\xba\xbe": "a Java class or a macOS program"}
_INTERPRETER = re.compile(rb"#!\s*/")


def executable_name(name: str) -> str | None:
    """Return what Python or a system makes of a file by its name, None if nothing."""
    path = PurePosixPath(name)
    if "__pycache__" in path.parts or _COMPILED.match(path.name):
        return "compiled code"
    if _PROGRAMS.match(path.name):
        return "a program"
    hook = name.partition("/")[0].partition(".")[0].lower() in _HOOKS
    return "a module that Python imports by itself" if hook else None


def executable_first(head: bytes, name: str) -> str | None:
    """Return what program the first bytes of a file begin, None if none.

    A Python source may name its interpreter in its first line.
    """
    if _INTERPRETER.match(head) and not name.endswith(_SOURCE):
        return "a script that names its interpreter"
    return next((what for mark, what in _FIRST.items() if head.startswith(mark)), None)


def executable_anywhere(data: bytes) -> tuple[int, str] | None:
    """Return where in `data` a program's file begins, and of which system; None if nowhere."""
    for mark, (pattern, what) in _ANYWHERE.items():
        # `in` is an order of magnitude faster than the pattern.
        if mark in data and (found := pattern.search(data)):
            return found.start(), what
    return None
