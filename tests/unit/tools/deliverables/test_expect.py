"""One value of a JSON file against a bound."""

from pathlib import Path

import pytest

from marloft.errors import ConfigError, StepError
from marloft.files import write_json
from tools.deliverables.expect import expect


@pytest.fixture
def summary(tmp_path: Path) -> Path:
    path = tmp_path / "summary.json"
    found = {
        "serving": {"p99_ms": 95.0, "errors": 0},
        "optimize": [{"auc": 0.79}],
        "decision": "ship",
        "fairness": None,
        "seconds": {"data": 1.5, "train": 2.0},
    }
    write_json(path, found)
    return path


@pytest.mark.parametrize(
    ("place", "relation", "bound"),
    [
        ("serving.p99_ms", "<", "100"),
        ("serving.errors", "==", "0"),
        ("optimize.0.auc", ">=", "0.77"),
        ("decision", "in", "ship,not_shown"),
        ("decision", "==", "ship"),
        ("decision", "!=", "null"),
        ("seconds.sum", "<=", "3.5"),
    ],
)
def test_value_as_expected_is_returned(
    summary: Path, place: str, relation: str, bound: str
) -> None:
    assert expect(summary, place, relation, bound)


@pytest.mark.parametrize(
    ("place", "relation", "bound"),
    [
        ("serving.p99_ms", "<", "95"),
        ("serving.errors", ">", "0"),
        ("optimize.0.auc", ">=", "0.8"),
        ("decision", "in", "not_shown"),
        ("fairness", "!=", "null"),
        ("fairness", "<", "0.05"),
        ("seconds.sum", "<", "3.5"),
    ],
)
def test_other_value_is_named(summary: Path, place: str, relation: str, bound: str) -> None:
    with pytest.raises(StepError, match=rf"{place} is .*, expected"):
        expect(summary, place, relation, bound)


@pytest.mark.parametrize(
    ("place", "hint"),
    [("serving.p9_ms", "Did you mean 'p99_ms'"), ("optimize.4.auc", "'4' is not there")],
)
def test_missing_place_is_named(summary: Path, place: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        expect(summary, place, "<", "1")


def test_unknown_relation_is_refused(summary: Path) -> None:
    with pytest.raises(ConfigError, match="relation '=<' is unknown"):
        expect(summary, "serving.p99_ms", "=<", "1")
