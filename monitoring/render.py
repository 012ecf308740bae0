"""Draws the serving dashboard from a running Prometheus, for those who have no Grafana.

    python monitoring/render.py --prometheus http://127.0.0.1:9090 --minutes 30

The panels and their queries are those of monitoring/dashboards/serving.json.
"""

import re
import time
from pathlib import Path
from typing import Annotated, Any

import httpx2
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from marloft.errors import DataError, reported
from marloft.monitoring.panels import Panel, Query, rows

_COLUMNS = 3
_POINTS = 200
_LABEL = re.compile(r"\{\{(\w+)\}\}")
_UNITS = {"s": "seconds", "reqps": "per second", "percentunit": "share", "Bps": "bytes per second"}


def main(
    prometheus: Annotated[str, typer.Option(help="Where Prometheus is.")] = "http://127.0.0.1:9090",
    minutes: Annotated[float, typer.Option(help="How far back.")] = 30.0,
    out: Annotated[Path, typer.Option(help="The picture to write.")] = Path("build/serving.png"),
    response: Annotated[
        list[str] | None, typer.Option(help="A type that models answer; without, all panels.")
    ] = None,
) -> None:
    """Draw every panel of the serving dashboard into one picture."""
    with reported("render"):
        empty = render(prometheus, minutes * 60, out, response)
    typer.echo(f"{out} written" + (f"; no data for: {', '.join(empty)}" if empty else ""))


def render(
    prometheus: str, span_s: float, out: Path, responses: list[str] | None = None
) -> list[str]:
    """Write the picture and return the titles of the panels that had no data.

    Args:
        prometheus: its address.
        span_s: how far back.
        out: the picture to write.
        responses: see `panels.rows`.

    Raises:
        DataError: Prometheus cannot be reached or refuses a query.
    """
    panels = [panel for row in rows(responses) for panel in row.panels]
    lines = -(-len(panels) // _COLUMNS)
    figure = Figure(figsize=(6 * _COLUMNS, 3.6 * lines), layout="constrained")
    end_s = time.time()
    empty = []
    with httpx2.Client(base_url=prometheus, timeout=10) as client:
        for number, panel in enumerate(panels, start=1):
            axes = figure.add_subplot(lines, _COLUMNS, number)
            if not _draw(axes, panel, client, end_s - span_s, end_s):
                empty.append(panel.title)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=80)
    return empty


def _draw(axes: Axes, panel: Panel, client: httpx2.Client, start_s: float, end_s: float) -> bool:
    highest = None
    for query in panel.queries:
        for series in _query_range(client, query, start_s, end_s):
            minutes = [(float(at) - end_s) / 60 for at, _ in series["values"]]
            values = [float(value) for _, value in series["values"]]
            axes.plot(minutes, values, label=_legend(query, series["metric"]), linewidth=1.2)
            highest = max(values + ([] if highest is None else [highest]))
    axes.set_title(panel.title, fontsize=10)
    axes.set_ylabel(_UNITS.get(panel.unit, ""), fontsize=8)
    axes.set_xlabel("minutes before now", fontsize=8)
    axes.set_xlim((start_s - end_s) / 60, 0)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
    if highest is None:
        axes.text(0.5, 0.5, "no data", ha="center", va="center", transform=axes.transAxes)
        return False
    axes.set_ylim(0, 1.15 * highest if highest > 0 else 1)
    axes.legend(fontsize=7)
    return True


def _query_range(
    client: httpx2.Client, query: Query, start_s: float, end_s: float
) -> list[dict[str, Any]]:
    step_s = max(1.0, (end_s - start_s) / _POINTS)
    asked: dict[str, str | float] = {
        "query": query.expr,
        "start": start_s,
        "end": end_s,
        "step": step_s,
    }
    try:
        answer = client.get("/api/v1/query_range", params=asked)
    except httpx2.HTTPError as error:
        raise DataError(
            f"no Prometheus at {client.base_url} ({error}); start one as docs/monitoring.md says, "
            "or name it with --prometheus."
        ) from None
    if answer.status_code != 200:
        raise DataError(f"Prometheus refused {query.expr!r}: {answer.text}; check its version.")
    found: list[dict[str, Any]] = answer.json()["data"]["result"]
    return found


def _legend(query: Query, labels: dict[str, str]) -> str:
    return _LABEL.sub(lambda name: labels.get(name[1], ""), query.legend).strip()


if __name__ == "__main__":
    typer.run(main)
