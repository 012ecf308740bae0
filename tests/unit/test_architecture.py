"""Who may import whom: between the parts of marloft, and between the repository's folders."""

from pathlib import Path

import pytest

import marloft
from tests.factories import REPOSITORY
from tests.imports import imported, modules

SOURCE = Path(marloft.__file__).parent
FOUNDATION = {"cores", "errors", "files"}
CONTRACT = FOUNDATION | {"contract", "assignment"}
WORKER = CONTRACT | {"runtimes", "serving"}
READERS = CONTRACT | {"logs", "report"}
ALLOWED: dict[str, set[str]] = {
    "cores": set(),
    "errors": set(),
    "files": {"errors"},
    "contract": FOUNDATION,
    "assignment": CONTRACT,
    "runtimes": CONTRACT,
    "serving": CONTRACT | {"runtimes"},
    "archive": WORKER | {"report"},
    "report": CONTRACT,
    "logs": CONTRACT,
    "experiment": READERS,
    "fairness": READERS,
    "monitoring": READERS,
    "training": CONTRACT | {"runtimes"},
    "ranker": CONTRACT | {"runtimes", "training"},
    "deploy": WORKER | READERS | {"archive", "experiment", "fairness", "monitoring"},
}
TOP = {"cli", "demo", "__init__", "__main__"}
# Folder → the other folders of this repository that its files import. Handlers import each other
# by bare names, as the members of an archive do.
FOLDERS: dict[str, set[str]] = {
    "src": set(),
    "harness": {"marloft"},
    "tools": {"marloft"},
    "benchmarks": {"harness", "marloft"},
    "tests": {"harness", "marloft", "training"},
    "training": {"marloft"},
    "examples": {"marloft"},
    "handlers": {"marloft"},
    "loadtest": {"marloft"},
    "monitoring": {"marloft"},
}
# The tests of a folder import it.
MIRRORS = {"tests.unit.benchmarks.": {"benchmarks"}, "tests.unit.tools.": {"tools"}}
# Packs the hostile archives, which lie among their tests.
UNMENDED = {"benchmarks.archive": {"tests"}}


def part_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_parts(source: str) -> set[str]:
    """Return the parts of marloft that a module imports, wherever in the module."""
    return {name.split(".")[1] for name in imported(source) if name.startswith("marloft.")}


def violations(part: str, source: str) -> set[str]:
    if part in TOP:
        return set()
    return imported_parts(source) - ALLOWED[part] - {part, "__version__"}


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.name))
def test_imports_follow_the_design(path: Path) -> None:
    assert violations(part_of(path), path.read_text()) == set()


def test_a_forbidden_import_is_noticed() -> None:
    assert violations("contract", "from marloft.serving import Handler") == {"serving"}
    assert violations("serving", "def f():\n    import marloft.archive.pack") == {"archive"}


def test_modules_have_at_most_300_lines() -> None:
    found = modules(REPOSITORY, "src", "harness", "tools", "benchmarks")
    lines = {name: len(path.read_text().splitlines()) for name, path in found.items()}
    assert {name: count for name, count in lines.items() if count > 300} == {}


def crossings(module: str, folder: str, source: str) -> set[str]:
    """Return the folders that a module imports and may not."""
    names = {name.split(".")[0] for name in imported(source)} & (FOLDERS.keys() | {"marloft"})
    own = {"marloft"} if folder == "src" else {folder}
    mirrored = [found for prefix, found in MIRRORS.items() if module.startswith(prefix)]
    return names - own - FOLDERS[folder] - UNMENDED.get(module, set()) - set().union(*mirrored)


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
    assert crossings("benchmarks.log", "benchmarks", "from tests import factories") == {"tests"}
    assert crossings("marloft.files", "src", "def f():\n    import harness.soak") == {"harness"}
