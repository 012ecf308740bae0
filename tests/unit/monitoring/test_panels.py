"""The dashboard's panels: what was promised, each once, by queries that name their series."""

import re

import pytest

from marloft.contract import metric_names as names
from marloft.monitoring.panels import Panel, rows
from tests.unit.monitoring.promql import metrics_of

PANELS: list[Panel] = [panel for row in rows() for panel in row.panels]
QUERIES = [query for panel in PANELS for query in panel.queries]


def test_dashboard_shows_what_was_promised() -> None:
    asked = set[str]().union(*(metrics_of(query.expr) for query in QUERIES))
    assert {f"{names.GATEWAY_LATENCY}_bucket", names.GATEWAY_REQUESTS, names.CTR} <= asked
    assert {names.CONVERSION, names.ACCURACY, names.PRECISION, names.RECALL} <= asked
    assert names.MEAN_ABSOLUTE_ERROR in asked
    expressions = "\n".join(query.expr for query in QUERIES)
    quantiles = re.findall(r"histogram_quantile\(([\d.]+)", expressions)
    assert quantiles == ["0.5", "0.95", "0.99"]


def test_titles_are_unique_and_every_panel_says_what_it_is_about() -> None:
    titles = [panel.title for panel in PANELS]
    assert len(set(titles)) == len(titles)
    assert all(panel.about.endswith(".") and panel.queries for panel in PANELS)


def test_legend_names_the_model_and_version_of_its_series() -> None:
    assert [q.legend for q in QUERIES if not q.legend.startswith("{{model}} {{version}}")] == []


@pytest.mark.parametrize(
    ("responses", "quality", "error"),
    [
        (None, True, True),
        (["ranking"], True, False),
        ([None], True, False),
        (["classification"], True, False),
        (["regression"], False, True),
        (["embedding", "object"], False, False),
        (["object", "regression", "ranking"], True, True),
    ],
)
def test_panels_that_never_show_anything_are_left_out(
    responses: list[str | None] | None, quality: bool, error: bool
) -> None:
    titles = {panel.title for row in rows(responses) for panel in row.panels}
    assert ("Quality of predictions" in titles) == quality
    assert ("Mean absolute error" in titles) == error
    assert {"Latency median", "CTR by arm"} <= titles
