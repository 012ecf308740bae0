"""The dashboard of a project: the committed one without the panels that would stay empty."""

import json

import pytest

from harness.factories import REPOSITORY
from marloft.monitoring.project_dashboard import dashboard_for

COMMITTED = (REPOSITORY / "monitoring" / "dashboards" / "serving.json").read_text()


def titles(dashboard: str) -> list[str]:
    return [panel["title"] for panel in json.loads(dashboard)["panels"]]


def test_panels_that_stay_empty_are_left_out() -> None:
    assert "Mean absolute error" in titles(dashboard_for(COMMITTED, ["regression"]))
    ranking = titles(dashboard_for(COMMITTED, ["ranking"]))
    assert "Mean absolute error" not in ranking
    assert "Quality of predictions" in ranking
    assert "Quality of predictions" not in titles(dashboard_for(COMMITTED, ["embedding"]))


def test_all_types_give_the_committed_dashboard() -> None:
    both = dashboard_for(COMMITTED, ["ranking", "regression"])
    assert json.loads(both) == json.loads(COMMITTED)


@pytest.mark.parametrize("response", ["ranking", "regression", "embedding"])
def test_no_panel_lies_on_another(response: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(dashboard_for(COMMITTED, [response]))["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
