"""Reads an archive's Python files without running them: what TorchServe would only say by dying."""

import ast
import sys
import zipfile
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import PurePosixPath

from packaging.utils import canonicalize_name

from marloft.archive.checks.members import WORKER_PACKAGES, is_installed
from marloft.contract.manifest import Manifest
from marloft.errors import ArchiveError

# Method of marloft.serving.Handler → its arguments.
_METHODS = {
    "load": ("self", "archive"),
    "decode": ("self", "request"),
    "predict": ("self", "inputs"),
    "encode": ("self", "request", "outputs"),
}
# What `Handler` itself leaves open.
_REQUIRED = ("decode", "encode")
# The attribute of a handler's class that says how it is run, and its values.
_BATCH_BY = "batch_by"
_BATCH_BY_WORDS = ("rows", "requests")
_BASE = "marloft.serving.Handler"
_OURS = (_BASE, "marloft.serving.handler.Handler")


def handler_class(source: bytes, where: str) -> ast.ClassDef:
    """Return the one class of a handler file, since TorchServe wants exactly one.

    Raises:
        ArchiveError: the file is no Python, or defines no or several classes.
    """
    tree = _parsed(source, where)
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    if len(classes) != 1:
        names = ", ".join(node.name for node in classes) or "none"
        raise ArchiveError(
            f"{where} defines {len(classes)} classes ({names}); TorchServe needs exactly one, "
            f"derived from {_BASE}."
        )
    return classes[0]


def lint(archive: zipfile.ZipFile, manifest: Manifest) -> None:
    """Check the handler's base and methods, and every file's imports.

    Raises:
        ArchiveError: with file and line.
    """
    names = [name for name in archive.namelist() if name.endswith(".py")]
    sources = {name: archive.read(name) for name in names}
    packed = {PurePosixPath(name).parts[0].removesuffix(".py") for name in names}
    _check_class(sources[manifest.handler], manifest.handler, packed)
    required = _modules_of(manifest.requires)
    for name, source in sources.items():
        for line, module in _imports(_parsed(source, name)):
            _check_import(f"{name}:{line}", module, packed, required)


def _parsed(source: bytes, where: str) -> ast.Module:
    try:
        return ast.parse(source)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", 0) or 0
        reason = getattr(error, "msg", str(error))
        raise ArchiveError(f"{where}:{line}: {reason}; correct the file.") from None


def _check_class(source: bytes, where: str, packed: set[str]) -> None:
    node = handler_class(source, where)
    bases = _bases(node, source, where)
    if not _any_ours(bases, packed):
        named = ", ".join(bases) or "nothing"
        raise ArchiveError(
            f"{where}:{node.lineno}: {node.name} derives from {named}; without {_BASE} nothing "
            "would be logged, checked or answered one by one: derive from it (docs/new.md)."
        )
    methods = {each.name: each for each in node.body if isinstance(each, ast.FunctionDef)}
    for each in node.body:
        if isinstance(each, ast.AsyncFunctionDef) and each.name in _METHODS:
            raise ArchiveError(
                f"{where}:{each.lineno}: {each.name} is async, and TorchServe's workers are not; "
                "write it with `def`."
            )
    _check_batch_by(node, where)
    if not set(_OURS).isdisjoint(bases):
        _check_methods(methods, node, where)


def derives_from_ours(source: bytes, where: str, packed: set[str]) -> bool:
    """Whether a handler file has one class, derived from marloft's or from a packed module's.

    Args:
        source: the file's content.
        where: its name.
        packed: the top modules packed next to it.
    """
    try:
        return _any_ours(_bases(handler_class(source, where), source, where), packed)
    except ArchiveError:
        return False


def _any_ours(bases: list[str], packed: set[str]) -> bool:
    return any(base.split(".")[0] in packed | {"marloft"} for base in bases)


def _bases(node: ast.ClassDef, source: bytes, where: str) -> list[str]:
    """Return a class's bases as dotted paths from their modules."""
    origins = _origins(_parsed(source, where))
    return [_origin(base, origins) for base in node.bases]


def _check_batch_by(node: ast.ClassDef, where: str) -> None:
    """Refuse another value than the two words; TorchServe would only say that the worker died."""
    for each in node.body:
        match each:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ) if name == _BATCH_BY:
                word = value.value if isinstance(value, ast.Constant) else None
                if word not in _BATCH_BY_WORDS:
                    raise ArchiveError(
                        f"{where}:{each.lineno}: batch_by is {ast.unparse(value)}; write "
                        '`batch_by = "rows"` or `batch_by = "requests"`.'
                    )


def _check_methods(methods: Mapping[str, ast.FunctionDef], node: ast.ClassDef, where: str) -> None:
    for name, wanted in _METHODS.items():
        method = methods.get(name)
        if method is not None and not _takes(method.args, len(wanted)):
            raise ArchiveError(
                f"{where}:{method.lineno}: {name} has other arguments than it is called with; "
                f"write `def {name}({', '.join(wanted)})`."
            )
    for name in _REQUIRED:
        if name not in methods:
            raise ArchiveError(
                f"{where}:{node.lineno}: {node.name} has no {name}; write "
                f"`def {name}({', '.join(_METHODS[name])})`."
            )


def _takes(arguments: ast.arguments, count: int) -> bool:
    """Whether a function can be called with `count` positional arguments."""
    positional = len(arguments.posonlyargs) + len(arguments.args)
    keyword_only = any(default is None for default in arguments.kw_defaults)
    enough = positional >= count or arguments.vararg is not None
    return enough and positional - len(arguments.defaults) <= count and not keyword_only


def _origins(tree: ast.Module) -> dict[str, str]:
    """Return what each imported name of a module stands for, as a dotted path."""
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                found[alias.asname or alias.name.split(".")[0]] = (
                    alias.name if alias.asname else alias.name.split(".")[0]
                )
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return found


def _origin(base: ast.expr, origins: Mapping[str, str]) -> str:
    name, _, rest = ast.unparse(base).partition(".")
    return ".".join(filter(None, (origins.get(name, name), rest)))


def _imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield line and top module of each import that has to succeed."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.module and not node.level:
                yield node.lineno, node.module.split(".")[0]
        elif not _optional(node):
            yield from _imports(node)


def _optional(node: ast.AST) -> bool:
    """Whether imports in a statement may fail: `try` with a handler, `if TYPE_CHECKING`."""
    if isinstance(node, ast.Try):
        return bool(node.handlers)
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _check_import(where: str, module: str, packed: set[str], required: set[str]) -> None:
    known = packed | required | WORKER_PACKAGES | sys.stdlib_module_names
    if module in known:
        return
    if is_installed(module):
        owners = metadata.packages_distributions().get(module, [module])
        name = canonicalize_name(owners[0])
        raise ArchiveError(
            f"{where}: {module} is installed here but not required; add "
            f"{name}=={metadata.version(name)} to the archive's `requirements` file."
        )
    raise ArchiveError(
        f"{where}: {module} is neither packed nor installed; add its file under `files`, or "
        "install it and name it in `requirements`."
    )


def _modules_of(requires: Mapping[str, str]) -> set[str]:
    """Return the top modules of required packages."""
    wanted = set(requires) - {"marloft"}
    if not wanted:
        return set()
    owners = metadata.packages_distributions()
    return {
        module
        for module, names in owners.items()
        if not wanted.isdisjoint(map(canonicalize_name, names))
    }
