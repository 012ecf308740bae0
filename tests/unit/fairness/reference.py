"""The rows of the fairness reference cases, as the audit reads them."""

from typing import Any

import numpy as np

from marloft.fairness.predictions import Grouping, ScoredRows, grouping, intersection
from tests.reference_cases import table


def rows_of(case: dict[str, Any]) -> tuple[ScoredRows, Grouping]:
    """Return the case's rows, each a unit of its own, and the groups it is about."""
    content: dict[str, Any] = table(case["inputs"]["table"])
    sensitive = case["inputs"]["sensitive"]
    names = [sensitive] if isinstance(sensitive, str) else sensitive
    parts = [grouping(content[name]) for name in names]
    groups = parts[0] if len(parts) == 1 else intersection(parts)
    labels = np.array(content["y_true"], dtype=np.int64)
    rows = ScoredRows(
        labels=labels,
        scores=np.array(content["score"], dtype=np.float64),
        units=np.arange(len(labels)),
        unit_count=len(labels),
        groupings={"sensitive": groups},
    )
    return rows, groups


def selected_of(case: dict[str, Any]) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """Return the case's own decisions, int64[n]."""
    content: dict[str, Any] = table(case["inputs"]["table"])
    return np.array(content["y_pred"], dtype=np.int64)
