"""The import direction of docs/architecture.md, held by reading the source."""

import ast
from pathlib import Path

import pytest

import marloft

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


def part_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_parts(source: str) -> set[str]:
    """Return the parts of marloft that a module imports, wherever in the module."""
    names: list[str] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return {name.split(".")[1] for name in names if name.startswith("marloft.")}


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


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.name))
def test_modules_have_at_most_300_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300
