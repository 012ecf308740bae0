"""What Python files import, read from their source: nothing is run."""

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

Graph = dict[str, set[str]]


def imported(source: str) -> set[str]:
    """Return the dotted names that a module imports, wherever in it, as `package.module.name`.

    What stands under `if TYPE_CHECKING:` counts too: who reads the module has to know it.
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


def import_graph(files: Mapping[str, Path]) -> Graph:
    """Return what each module imports of `files`, whether at its top or inside a function."""
    return {
        name: {found for each in imported(path.read_text()) if (found := _module_of(each, files))}
        for name, path in files.items()
    }


def reduced(graph: Graph) -> Graph:
    """Return an acyclic graph without the arrows that a path over other ones says already.

    The transitive reduction (Aho, Garey, Ullman 1972, SIAM Journal on Computing 1(2)).
    """
    return {
        node: {each for each in targets if not any(each in _reached(graph, t) for t in targets)}
        for node, targets in graph.items()
    }


def _reached(graph: Graph, start: str) -> set[str]:
    """Return what `start` leads to, itself left out."""
    found: set[str] = set()
    rest = list(graph.get(start, ()))
    while rest:
        node = rest.pop()
        if node not in found:
            found.add(node)
            rest += graph.get(node, ())
    return found


def _module_of(name: str, known: Iterable[str]) -> str:
    """Return the module that an imported name is in, `""` for one of somebody else's."""
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name


def _imported(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=str(module), names=names):
            yield from (f"{module}.{alias.name}" for alias in names)
        case _:
            for child in ast.iter_child_nodes(node):
                yield from _imported(child)
