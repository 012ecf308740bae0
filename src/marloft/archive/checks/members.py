"""Rules for the names of an archive's members, shared by `pack` and `verify`."""

import stat
import sys
import zipfile
from collections.abc import Iterable
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path, PurePosixPath

from marloft.archive.checks.documents import MODEL_CARD
from marloft.contract.allocation import ALLOCATION_JSON
from marloft.contract.audit import FAIRNESS_JSON
from marloft.contract.manifest import ARCHIVE_JSON, GOLDEN_JSONL, MODEL_CONFIG, SCHEMA_JSON

STOCK_MANIFEST = "MAR-INF/MANIFEST.json"
RESERVED = frozenset(
    {
        ALLOCATION_JSON,
        ARCHIVE_JSON,
        SCHEMA_JSON,
        GOLDEN_JSONL,
        MODEL_CONFIG,
        MODEL_CARD,
        FAIRNESS_JSON,
        STOCK_MANIFEST,
    }
)
_LONGEST_NAME = 255
_INSTALLED = ("site-packages", "dist-packages")
_IMPORTABLE = ("py", "pyc", "so")
# What a worker imports after the archive has become the first entry of its sys.path.
WORKER_PACKAGES = frozenset(
    {
        "marloft",
        "msgspec",
        "numpy",
        "onnxruntime",
        "packaging",
        "prometheus_client",
        "psutil",
        "tensorrt",
        "torch",
        "ts",
        "xxhash",
        "yaml",
    }
)


def unsafe(name: str) -> str | None:
    """Return why a member's path could leave the folder it is unpacked into, None if it cannot.

    The rule is for every system at once: no backslash, no drive letter, no control character.
    """
    path = PurePosixPath(name)
    if not name or name.endswith("/"):
        return "it names no file"
    if path.is_absolute() or ":" in name:
        return "it is absolute"
    if ".." in path.parts:
        return "it contains '..'"
    if "\\" in name or not name.isprintable():
        return "it contains a backslash or a control character"
    if str(path) != name:
        return f"it is not in its plain form {str(path)!r}"
    return None


def unsafe_member(info: zipfile.ZipInfo) -> str | None:
    """Return why a member of a zip file must not be unpacked, None if it may be.

    An entry for a folder is fine: most zip programs write them.
    """
    # orig_filename is the stored name: zipfile cuts its own copy at a NUL byte.
    name = info.orig_filename
    reason = unsafe(name.removesuffix("/") if info.is_dir() else name)
    if reason is not None:
        return reason
    if any(len(part.encode()) > _LONGEST_NAME for part in PurePosixPath(name).parts):
        return f"a part of it is longer than {_LONGEST_NAME} bytes"
    kind = stat.S_IFDIR if info.is_dir() else stat.S_IFREG
    if stat.S_IFMT(info.external_attr >> 16) not in (0, kind):
        return "it is a link or a device"
    return "it is a folder with content" if info.is_dir() and info.file_size else None


def shadowed(name: str) -> str | None:
    """Return the module a member would hide from the worker, None if it hides none.

    TorchServe puts the unpacked archive first on `sys.path`. Known modules are the standard
    library, what every worker imports, and what is installed next to marloft.
    """
    module, _, suffixes = PurePosixPath(name).parts[0].partition(".")
    importable = "/" in name or suffixes.split(".")[-1] in _IMPORTABLE
    if importable and (module in sys.stdlib_module_names or module in WORKER_PACKAGES):
        return module
    # A folder is a package, and hides another one, by its __init__ alone.
    top = name.removeprefix(f"{module}/__init__.") != name or "/" not in name
    return module if importable and top and is_installed(module) else None


@cache
def is_installed(module: str) -> bool:
    """Whether a top-level module or package is installed in this Python."""
    folders = [path for path in sys.path if Path(path).name in _INSTALLED]
    spec = PathFinder.find_spec(module, folders)
    return spec is not None and spec.origin is not None


def colliding(names: Iterable[str]) -> str | None:
    """Return a name that another one equals (whatever the case) or uses as a folder, else None."""
    seen: set[str] = set()
    for name in sorted(name.casefold() for name in names):
        if name in seen or any(str(parent) in seen for parent in PurePosixPath(name).parents):
            return name
        seen.add(name)
    return None
