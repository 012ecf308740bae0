"""The shape of the repository: folders that import each other, sizes, names that stand once."""

import ast
from collections import Counter
from collections.abc import Iterable

import pytest

from harness.factories import REPOSITORY
from tools.imports import import_graph, imported, modules

# Folder → the other folders of this repository that its files import. Handlers import each other
# by bare names, as the members of an archive do.
FOLDERS: dict[str, set[str]] = {
    "src": set(),
    "harness": {"marloft"},
    "tools": {"marloft"},
    "benchmarks": {"harness", "marloft"},
    "tests": {"harness", "marloft", "tools", "training"},
    "training": {"marloft"},
    "examples": {"marloft"},
    "handlers": {"marloft"},
    "loadtest": {"marloft"},
    "monitoring": {"marloft"},
}
# The tests of a folder import it.
MIRRORS = {"tests.unit.benchmarks.": {"benchmarks"}}


def test_modules_have_at_most_300_lines() -> None:
    found = modules(REPOSITORY, "src", "harness", "tools", "benchmarks")
    lines = {name: len(path.read_text().splitlines()) for name, path in found.items()}
    assert {name: count for name, count in lines.items() if count > 300} == {}


def crossings(module: str, folder: str, source: str) -> set[str]:
    """Return the folders that a module imports and may not."""
    names = {name.split(".")[0] for name in imported(source)} & (FOLDERS.keys() | {"marloft"})
    own = {"marloft"} if folder == "src" else {folder}
    mirrored = [found for prefix, found in MIRRORS.items() if module.startswith(prefix)]
    return names - own - FOLDERS[folder] - set().union(*mirrored)


@pytest.mark.parametrize("folder", FOLDERS)
def test_folders_import_what_they_may(folder: str) -> None:
    found = modules(REPOSITORY, folder)
    assert found
    crossing = {name: crossings(name, folder, path.read_text()) for name, path in found.items()}
    assert {name: folders for name, folders in crossing.items() if folders} == {}


def test_an_import_across_folders_is_noticed() -> None:
    driver = "from benchmarks.judge import Judge"
    assert crossings("tests.e2e.running", "tests", driver) == {"benchmarks"}
    assert crossings("tests.unit.benchmarks.test_judge", "tests", driver) == set()
    assert crossings("benchmarks.log", "benchmarks", "from tests import releases") == {"tests"}
    assert crossings("marloft.files", "src", "def f():\n    import harness.soak") == {"harness"}


def test_deploy_has_walls() -> None:
    """What lies in its hallway, and the arrows between its rooms."""
    graph = import_graph(modules(REPOSITORY, "src"))
    rooms = {name.split(".")[2] for name in graph if name.startswith("marloft.deploy.")}
    packages = {name.split(".")[2] for name in graph if name.count(".") > 2 and ".deploy." in name}
    assert len(rooms - packages) <= 9
    arrows = {
        (module.split(".")[2], target.split(".")[2])
        for module, targets in graph.items()
        for target in targets
        if module.startswith("marloft.deploy.") and target.startswith("marloft.deploy.")
    }
    assert len({(a, b) for a, b in arrows if a != b}) <= 40


def classes(sources: Iterable[str]) -> Counter[str]:
    """Count the public classes of some modules by name."""
    return Counter(
        node.name
        for source in sources
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )


def test_a_class_name_stands_for_one_thing() -> None:
    found = classes(path.read_text() for path in modules(REPOSITORY, "src").values())
    assert [name for name, count in found.items() if count > 1] == []


def test_a_class_name_that_stands_twice_is_noticed() -> None:
    assert classes(["class Step: ...", "class Step: ...\nclass _Own: ..."]) == {"Step": 2}
