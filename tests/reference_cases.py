"""The reference cases: results of independent libraries, read from `tests/reference/cases.json`."""

import json
from pathlib import Path
from typing import Any

import pytest

_FILE = Path(__file__).parent / "reference" / "cases.json"
_CASES: list[dict[str, Any]] = json.loads(_FILE.read_text())["cases"]


def cases(kind: str) -> list[dict[str, Any]]:
    """Return the cases of one kind; fails when there is none, so that no test runs on nothing."""
    found = [case for case in _CASES if case["kind"] == kind]
    assert found, f"no reference case of kind {kind!r}"
    return found


def table(name: str) -> dict[str, dict[str, list[float]]]:
    """Return the rows of a case of kind `table`, by arm and column."""
    rows: dict[str, dict[str, list[float]]] = next(
        case["inputs"] for case in _CASES if case["name"] == name
    )
    return rows


def near(case: dict[str, Any], expected: Any) -> Any:
    """Return `expected` with the case's own tolerance."""
    tolerance = case["tolerance"]
    return pytest.approx(expected, rel=tolerance.get("rel", 0.0), abs=tolerance.get("abs", 0.0))
