"""docs/security.md: each known hole has a rule of ours, and tests that exist and show it."""

import ast
import re
from importlib.metadata import version

import pytest
from packaging.version import Version

from harness.factories import REPOSITORY

PAGE = (REPOSITORY / "docs" / "security.md").read_text()
# TorchServe's published advisories (github.com/pytorch/serve/security/advisories) and what its
# release notes say was closed; of torch what concerns the reading of models.
KNOWN = {
    "ShellTorch (no CVE)",
    "CVE-2022-1471",
    "CVE-2022-25647",
    "CVE-2023-43654",
    "CVE-2023-48299",
    "CVE-2024-35198",
    "CVE-2024-35199",
    "CVE-2025-32434",
    "CVE-2026-4538",
}


def rows(page: str) -> dict[str, list[str]]:
    """Return the cells of the table of holes, by the hole."""
    table = page.split("## Known holes", 1)[1]
    lines = [line for line in table.splitlines() if line.startswith("| ")][1:]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return {first: rest for first, *rest in cells}


ROWS = rows(PAGE)


def missing_tests(text: str) -> list[str]:
    """Return the named tests that no file has."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    return [f"{path}::{name}" for path, name in named if name not in functions_of(path)]


def functions_of(path: str) -> set[str]:
    file = REPOSITORY / path
    tree = ast.parse(file.read_text() if file.is_file() else "")
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_known_hole_has_a_row() -> None:
    assert set(ROWS) == KNOWN


@pytest.mark.parametrize("hole", ROWS)
def test_row_says_what_it_was_our_rule_and_tests_that_exist(hole: str) -> None:
    what, fixed, rule, shown_by = ROWS[hole]
    assert what and fixed and rule
    assert "::" in shown_by
    assert missing_tests(shown_by) == []


def test_test_that_is_gone_is_noticed() -> None:
    assert missing_tests("`tests/unit/test_security.py::test_gone`, `tests/none.py::test_x`") == [
        "tests/unit/test_security.py::test_gone",
        "tests/none.py::test_x",
    ]


@pytest.mark.parametrize("hole", ROWS)
def test_installed_version_has_the_fix(hole: str) -> None:
    package, fixed = ROWS[hole][1].split()
    assert Version(version(package)) >= Version(fixed)
