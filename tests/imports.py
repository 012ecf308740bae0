"""What Python files import, read from their source: nothing is run."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path


def imported(source: str) -> set[str]:
    """Return the dotted names that a module imports, wherever in it, as `package.module.name`.

    What stands under `if TYPE_CHECKING:` is left out: it is not imported when the module runs.
    """
    return set(_imported(ast.parse(source)))


def modules(root: Path, *folders: str) -> dict[str, Path]:
    """Return the Python files below the folders of `root` by their dotted names.

    `src` is no part of a name; an `__init__.py` has that of its package.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        base = root / "src" if folder == "src" else root
        for path in sorted((root / folder).rglob("*.py")):
            parts = path.relative_to(base).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def _imported(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=str(module), names=names):
            yield from (f"{module}.{alias.name}" for alias in names)
        case _:
            for child in _children(node):
                yield from _imported(child)


def _children(node: ast.AST) -> Iterable[ast.AST]:
    match node:
        case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=otherwise):
            return otherwise
    return ast.iter_child_nodes(node)
