"""Where the members of an archive come from: files, folders and globs named by its YAML file."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath

from marloft.errors import ConfigError

_WILD = frozenset("*?[")
# Compiled code is bound to this Python, and its bytes to the time of its source.
_LEFT_OUT = "__pycache__"


def located(config: Path, key: str, source: str) -> Path:
    """Return a path of a YAML file relative to the working directory.

    Raises:
        ConfigError: the path is absolute; it would be another file, or none, on another machine.
    """
    if PurePosixPath(source).is_absolute() or PureWindowsPath(source).drive or source[:1] == "~":
        raise ConfigError(
            f"{config}: {key}: {source} is an absolute path, which no other machine has; write it "
            f"relative to {config.parent}."
        )
    return Path(os.path.normpath(config.parent / source))


def plain_file(config: Path, key: str, path: Path) -> Path:
    """Return `path`; raises ConfigError when it is no file, or a link to one."""
    if path.is_symlink():
        raise ConfigError(
            f"{config}: {key}: {path} is a link; name the file that it leads to, {path.readlink()}."
        )
    if not path.is_file():
        raise ConfigError(f"{config}: {key}: {path} is no file; make it or correct the path.")
    return path


def expand(config: Path, files: Mapping[str, str]) -> dict[str, str]:
    """Return member → file for the key `files`, with every folder and glob resolved.

    Raises:
        ConfigError: a path is absolute, missing or a link, a glob finds nothing, or two entries
            give one member.
    """
    found: dict[str, str] = {}
    for member, source in files.items():
        for name, path in _members(config, member, source):
            if name in found:
                raise ConfigError(
                    f"{config}: files: {found[name]} and {path} would both be {name!r}; "
                    "give one of them another name."
                )
            found[name] = str(path)
    return found


def _members(config: Path, member: str, source: str) -> Iterator[tuple[str, Path]]:
    key = f"files.{member}"
    path = located(config, key, source)
    if _WILD.isdisjoint(source):
        if not path.is_dir() or path.is_symlink():
            yield member, plain_file(config, key, path)
            return
        base, inside = path, sorted(path.rglob("*"))
    else:
        base = path
        while not _WILD.isdisjoint(str(base)):
            base = base.parent
        inside = sorted(base.glob(str(path.relative_to(base))))
    kept = [
        (each.relative_to(base), each)
        for each in inside
        if each.is_symlink() or (not each.is_dir() and _LEFT_OUT not in each.parts)
    ]
    if not kept:
        raise ConfigError(f"{config}: {key}: {path} holds no file; correct the path.")
    for relative, each in kept:
        yield str(PurePosixPath(member, *relative.parts)), plain_file(config, key, each)
