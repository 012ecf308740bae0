"""No two modules import each other, at first or second hand, and no two parts of a package."""

from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from harness.factories import REPOSITORY
from tools.imports import Graph, import_graph, modules

FOLDERS = ("src", "harness", "tools", "benchmarks", "tests")


def parts(graph: Graph) -> dict[str, Graph]:
    """Return for each package the imports between its direct children.

    An import counts for the nearest package of both modules, and there for the two children that
    they lie in. A package's own code is its child `__init__`.
    """
    packages = {name.rpartition(".")[0] for name in graph}
    found: dict[str, Graph] = {}
    for module, targets in graph.items():
        for target in targets - {module}:
            ours, theirs = (
                [*name.split("."), *(["__init__"] if name in packages else [])]
                for name in (module, target)
            )
            depth = next(i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b)
            if depth:
                package = found.setdefault(".".join(ours[:depth]), {})
                package.setdefault(ours[depth], set()).add(theirs[depth])
    return found


def circle(graph: Graph) -> list[str]:
    """Return one circle of a graph, nothing when there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


GRAPH = import_graph(modules(REPOSITORY, *FOLDERS))
PARTS = parts(GRAPH)


def test_no_modules_import_each_other() -> None:
    assert circle(GRAPH) == []


@pytest.mark.parametrize("package", sorted(PARTS))
def test_no_parts_of_a_package_import_each_other(package: str) -> None:
    assert circle(PARTS[package]) == []


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """Two packages, one of them with code of its own; nothing goes round yet."""
    texts = {
        "one/__init__.py": "VERSION = 1",
        "one/a.py": "from one import VERSION\nfrom one.rooms import x",
        "one/b.py": "import json",
        "one/rooms/x.py": "",
        "one/rooms/y.py": "from one.b import z",
        "two/c.py": "from one.a import anything",
    }
    for name, text in texts.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def graph_with(root: Path, file: str, text: str) -> Graph:
    path = root / file
    path.write_text(f"{path.read_text()}\n{text}\n")
    return import_graph(modules(root, "one", "two"))


def test_imports_are_read_as_modules(planted: Path) -> None:
    graph = graph_with(planted, "two/c.py", "import one.rooms.y")
    assert graph["one.a"] == {"one", "one.rooms.x"}
    assert graph["two.c"] == {"one.a", "one.rooms.y"}
    assert circle(graph) == []
    assert parts(graph) == {"one": {"a": {"__init__", "rooms"}, "rooms": {"b"}}}


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("one/rooms/x.py", "import one.a"),
        ("one/rooms/x.py", "def later():\n    from one import a"),
        ("one/rooms/x.py", "def later():\n    from two.c import anything"),
        ("one/__init__.py", "from one.a import anything"),
    ],
)
def test_modules_that_import_each_other_are_noticed(planted: Path, file: str, text: str) -> None:
    assert "one.a" in circle(graph_with(planted, file, text))


def test_parts_that_import_each_other_are_noticed(planted: Path) -> None:
    """`b` imports `rooms.x` and `rooms.y` imports `b`: no two modules, but two parts."""
    graph = graph_with(planted, "one/b.py", "from one.rooms import x")
    assert circle(graph) == []
    assert {"b", "rooms"} <= set(circle(parts(graph)["one"]))


def test_import_for_types_alone_makes_a_circle_too(planted: Path) -> None:
    text = "if TYPE_CHECKING:\n    from one.a import Anything"
    assert "one.a" in circle(graph_with(planted, "one/rooms/x.py", text))
