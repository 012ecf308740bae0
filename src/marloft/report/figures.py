"""How every report's pictures are drawn: one canvas, one palette, stable SVG text."""

import io

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from marloft.contract.estimate import Estimate

# Okabe, Ito (2008): colours that remain distinct with colour-vision deficiency.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9")
LIMIT_COLOUR = "#b3362b"


def to_svg(figure: Figure, label: str) -> str:
    """Return the figure as an SVG element with a text alternative; same input, same bytes."""
    stream = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "marloft", "svg.fonttype": "path"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    svg = stream.getvalue()
    element = svg[svg.index("<svg") :]
    return element.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def canvas(height: float) -> tuple[Figure, Axes]:
    """Return an empty figure of the page's width and `height` inches, with its axes."""
    figure = Figure(figsize=(7.6, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#e3e9ef")
    axes.set_axisbelow(True)
    return figure, axes


def draw_interval(
    axes: Axes, row: float, estimate: Estimate, colour: str, factor: float = 100.0
) -> None:
    """Draw a dot with its interval; a side without a bound ends in an arrow head."""
    value = factor * estimate.value
    low = value if estimate.low is None else factor * estimate.low
    high = value if estimate.high is None else factor * estimate.high
    axes.plot([low, high], [row, row], color=colour, lw=2.5, solid_capstyle="butt")
    axes.plot([value], [row], "o", color=colour, ms=7)
    if estimate.low is None:
        axes.plot([value], [row], marker="<", color=colour, ms=11)
    if estimate.high is None:
        axes.plot([value], [row], marker=">", color=colour, ms=11)
