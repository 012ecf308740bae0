"""Atomic writes, content hashes and typed JSON/YAML files: the only place that knows how."""

import hashlib
import os
import re
import stat
import tempfile
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from marloft.errors import ConfigError, nearest
from marloft.structure_errors import collect, convert, in_file_order, listed
from marloft.text_files import read_utf8

T = TypeVar("T")
# What msgspec raises for bytes that are not JSON, not UTF-8, or nested too deep to follow.
NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
# Modes of files: state, records and logs are for whoever serves; what users ask for is for all.
PRIVATE, PUBLIC = 0o600, 0o644
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_BLOCK = 1 << 20
_INT = "tag:yaml.org,2002:int"
# Far more than any file has that people write, and less than Python's recursion and digits allow.
_DEEPEST, _MOST_NODES, _LONGEST_INT = 200, 1_000_000, 100
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>[^`]*)`(?: - at `(?P<at>.*)`)?")


def private_folder(path: Path) -> None:
    """Make a folder and its missing parents, 0700 whatever the umask; what exists is left alone.

    That is what XDG asks of state folders:
    https://specifications.freedesktop.org/basedir-spec/latest/
    """
    if not path.is_dir():
        private_folder(path.parent)
        path.mkdir(mode=stat.S_IRWXU, exist_ok=True)


def tighten(folder: Path) -> None:
    """Take from everybody else what an earlier version let them read: the folder and all in it.

    Files of other owners and links are left as they are, and so is what goes meanwhile.
    """
    for path in (folder, *folder.rglob("*")):
        try:
            found = path.lstat()
            ours = found.st_uid == os.geteuid() and not stat.S_ISLNK(found.st_mode)
            if ours and found.st_mode & _OTHERS:
                path.chmod(stat.S_IMODE(found.st_mode) & ~_OTHERS)
        except FileNotFoundError:
            continue


def write_atomic(path: Path, content: bytes | str, mode: int = PUBLIC) -> None:
    """Write `content` to `path` so that a reader sees the old file or the new one, never a part.

    The bytes are on disk (fsync) before the rename; missing parent folders are made, for PRIVATE
    files closed to others too.
    """
    data = content.encode() if isinstance(content, str) else content
    _make_parent(path, mode)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.chmod(mode)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_if_other(path: Path, content: bytes | str, mode: int = PUBLIC) -> None:
    """Write `content` atomically unless the file holds it already, which needs no disk space."""
    data = content.encode() if isinstance(content, str) else content
    if not path.is_file() or path.read_bytes() != data:
        write_atomic(path, data, mode)


def write_new(path: Path, content: bytes, mode: int = PUBLIC) -> None:
    """Write a file that must not exist yet; it appears whole or not at all.

    Raises:
        FileExistsError: `path` exists; it is left as it is.
    """
    _make_parent(path, mode)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
        Path(stream.name).chmod(mode)
        os.link(stream.name, path)


def _make_parent(path: Path, mode: int) -> None:
    if mode == PRIVATE:
        private_folder(path.parent)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of the file's bytes as 64 hex digits, reading 1 MiB at a time."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def sidecar_path(path: Path) -> Path:
    """Return where the facts about `path` that must stay outside it lie: `<path>.json`."""
    return path.with_name(path.name + ".json")


def to_json(value: Any) -> bytes:
    """Encode `value` as indented JSON with sorted keys and a final newline (stable bytes)."""
    return msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=2) + b"\n"


def write_json(path: Path, value: Any, mode: int = PUBLIC) -> None:
    """Write `value` (builtins or a msgspec Struct) atomically, as `to_json` encodes it."""
    write_atomic(path, to_json(value), mode)


def read_json(path: Path, kind: type[T]) -> T:
    """Read a JSON file into `kind`; raises ConfigError with the file's name and the place."""
    return parse_json(read_utf8(path), kind, str(path))


def parse_json(data: bytes, kind: type[T], where: str) -> T:
    """Decode JSON bytes into `kind`; `where` names the source in the ConfigError it raises."""
    try:
        return msgspec.json.decode(data, type=kind)
    except NOT_JSON as error:
        raise ConfigError(f"{where}: {_explain(error, kind)}") from None


def read_yaml(path: Path, kind: type[T]) -> T:
    """Read a YAML file (safe loader) into `kind`.

    Raises:
        ConfigError: the file is missing, is not YAML, or does not fit `kind`: every unknown,
            missing, mistyped or forbidden key with its place, each on a line of its own when
            there are several; an unknown key is answered with the nearest known one.
    """
    value = read_plain_yaml(path)
    try:
        found: T = convert(value, kind)
    except msgspec.ValidationError:
        faults = in_file_order(collect(value, kind), value)
        raise ConfigError(f"{path}: {listed(faults)}") from None
    return found


def read_plain_yaml(path: Path) -> Any:
    """Read a YAML file as plain values, as YAML 1.2 has it: `no` and `on` are text.

    Raises:
        ConfigError: it is missing, not YAML, has a key twice, of which YAML's readers drop the
            first, or is nested so deep or so large that no reader could follow it; with the line.
    """
    try:
        loader = _Loader(read_utf8(path))
        node = loader.get_single_node()
        _check_nodes(node)
        return None if node is None else loader.construct_document(node)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        text = " ".join(str(error).split()).replace('in "<byte string>", ', "")
        raise ConfigError(f"{path}: {text}") from None
    except (AttributeError, LookupError, TypeError, ArithmeticError):
        # What PyYAML's own constructors raise for `!!bool x` and `!!timestamp x`.
        text = "a value is not of the type that its tag (!!) says; leave the tag out."
        raise ConfigError(f"{path}: {text}") from None


def _check_nodes(root: yaml.Node | None) -> None:
    """Raise ValueError for what constructs but cannot be followed: cycles, endless numbers."""
    nodes, count = [] if root is None else [(root, 1)], 0
    while nodes:
        node, depth = nodes.pop()
        count += 1
        line = node.start_mark.line + 1
        if depth > _DEEPEST or count > _MOST_NODES:
            raise ValueError(
                f"line {line} is more than {_DEEPEST} levels deep, or one of over {_MOST_NODES:,} "
                "values, anchors (&) counted wherever they are used; write it out flat."
            )
        if isinstance(node, yaml.SequenceNode):
            nodes += [(each, depth + 1) for each in node.value]
        elif isinstance(node, yaml.MappingNode):
            _check_keys(node)
            nodes += [(value, depth + 1) for _, value in node.value]
        elif node.tag == _INT and len(node.value) > _LONGEST_INT:
            raise ValueError(f"line {line} holds an integer of {len(node.value)} digits.")


def _check_keys(node: yaml.MappingNode) -> None:
    """Raise ValueError for the first key that is not a scalar or stands there twice."""
    lines: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise ValueError(f"line {line} has a list or a mapping for a key; keys are text.")
        name = (key.tag, str(key.value))
        if name in lines:
            raise ValueError(
                f"key {name[1]!r} stands in line {lines[name]} and again in line {line}; leave "
                "one of them out."
            )
        lines[name] = line


class _Loader(yaml.CSafeLoader):  # type: ignore[misc]
    """The safe loader with the booleans of YAML 1.2's core schema: in `[no, yes]` are two words.

    https://yaml.org/spec/1.2.2/#1032-tag-resolution
    """


_BOOL = "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOL]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    _BOOL, re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), list("tTfF")
)


def _explain(error: Exception, kind: type[Any]) -> str:
    text = " ".join(str(error).split()).replace('in "<byte string>", ', "")
    unknown = _UNKNOWN.match(text)
    if unknown is None:
        return text
    place = unknown["at"] or "$"
    hint = nearest(unknown["field"], _fields_at(kind, place))
    return f"unknown key {unknown['field']!r} at {place}.{hint}"


def _fields_at(kind: Any, place: str) -> list[str]:
    """Follow a msgspec error path (`$.models[...].rollout`) to the field names there."""
    node = msgspec.inspect.type_info(kind)
    for part in re.findall(r"\.(\w+)|(\[[^\]]*\])", place):
        node = _child(_structured(node), part[0])
    node = _structured(node)
    return [field.encode_name for field in getattr(node, "fields", ())]


def _child(node: Any, name: str) -> Any:
    if not name:
        return getattr(node, "item_type", getattr(node, "value_type", node))
    fields = {field.encode_name: field.type for field in getattr(node, "fields", ())}
    return fields.get(name, getattr(node, "value_type", node))


def _structured(node: Any) -> Any:
    """Step through unions (`X | None`) and metadata to the part that has fields or items."""
    if isinstance(node, msgspec.inspect.Metadata):
        return _structured(node.type)
    if isinstance(node, msgspec.inspect.UnionType):
        plain = (msgspec.inspect.NoneType, msgspec.inspect.StrType, msgspec.inspect.IntType)
        return next((_structured(t) for t in node.types if not isinstance(t, plain)), node)
    return node
