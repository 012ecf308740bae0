"""The committed Grafana dashboard for the models of one project: without panels that stay empty.

It needs no library of Grafana's: the dashboard is read as it was written by `dashboards`.
"""

import json
from collections.abc import Collection
from typing import Any

from marloft.monitoring.panels import rows

_COLUMNS = 24


def dashboard_for(dashboard: str, responses: Collection[str]) -> str:
    """Return the dashboard's JSON text with the panels that have numbers for `responses` alone.

    Args:
        dashboard: the JSON text of `monitoring/dashboards/serving.json`.
        responses: the declared types of the models that are served, such as `ranking`.
    """
    kept = {panel.title for row in rows(responses) for panel in row.panels}
    document: dict[str, Any] = json.loads(dashboard)
    panels = [each for each in document["panels"] if each["type"] == "row" or each["title"] in kept]
    document["panels"] = _placed(panels)
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def _placed(panels: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give each panel the next free place, rows of panels from the left."""
    x = y = height = 0
    placed = []
    for panel in panels:
        own = panel["gridPos"]
        if panel["type"] == "row" or x + own["w"] > _COLUMNS:
            x, y, height = 0, y + height, 0
        placed.append({**panel, "gridPos": {**own, "x": x, "y": y}})
        x, height = x + own["w"], max(height, own["h"])
    return placed
