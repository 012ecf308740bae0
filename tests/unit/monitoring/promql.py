"""Reads PromQL as Prometheus' own parser does."""

from typing import Any

import promql_parser


def metrics_of(expression: str) -> set[str]:
    """Return the metric names of a PromQL expression; raises ValueError when it is none."""
    found: set[str] = set()

    def visit(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.add(node.name or "")
        for part in ("expr", "lhs", "rhs", "vs", "vector_selector", "param"):
            child = getattr(node, part, None)
            if child is not None:
                visit(child)
        for child in getattr(node, "args", None) or ():
            visit(child)

    visit(promql_parser.parse(expression))
    return found
