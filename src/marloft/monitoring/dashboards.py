"""Writes the Grafana dashboard, `monitoring/dashboards/serving.json`, from the list of panels.

    python -m marloft.monitoring.dashboards monitoring/dashboards/serving.json

It needs grafana-foundation-sdk; the file it writes needs nothing but Grafana.
"""

import json
import sys
from collections.abc import Collection
from pathlib import Path

from grafana_foundation_sdk.builders import common, dashboard, prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import DataSourceRef

from marloft.files import write_atomic
from marloft.monitoring.panels import Panel, rows

_SOURCE = DataSourceRef(type_val="prometheus", uid="${source}")
_WIDTH, _HEIGHT = 8, 8


def serving_dashboard(responses: Collection[str | None] | None = None) -> str:
    """Return the dashboard as JSON text: the same bytes each time.

    Args:
        responses: what the served models declare to answer (see `panels.rows`); by default the
            panels for all types are there.
    """
    built = (
        dashboard.Dashboard("marloft: serving")
        .uid("marloft-serving")
        .tags(["marloft"])
        .editable()
        .refresh("15s")
        .time("now-30m", "now")
        .with_variable(
            dashboard.DatasourceVariable("source").label("Prometheus").type("prometheus")
        )
    )
    for row in rows(responses):
        built = built.with_row(dashboard.Row(row.title))
        for panel in row.panels:
            built = built.with_panel(_panel(panel))
    return json.dumps(built.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def _panel(panel: Panel) -> timeseries.Panel:
    built = (
        timeseries.Panel()
        .title(panel.title)
        .description(panel.about)
        .unit(panel.unit)
        .min(0)
        .datasource(_SOURCE)
        .legend(_legend())
        .tooltip(
            common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
        )
        .span(_WIDTH)
        .height(_HEIGHT)
    )
    for number, query in enumerate(panel.queries):
        built = built.with_target(
            prometheus.Dataquery()
            .expr(query.expr)
            .legend_format(query.legend)
            .ref_id(chr(ord("A") + number))
            .datasource(_SOURCE)
        )
    return built


def _legend() -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(LegendDisplayMode.LIST)
        .placement(LegendPlacement.BOTTOM)
        .calcs([])
    )


def main(arguments: list[str]) -> int:
    """Write the dashboard to the path in the arguments."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m marloft.monitoring.dashboards FILE\n")
        return 2
    write_atomic(Path(arguments[0]), serving_dashboard())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
