"""The report's pictures as SVG text: effects with their intervals, CTR over time, latency."""

import io
from datetime import datetime

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from marloft.contract.estimate import Estimate
from marloft.experiment.design import Experiment
from marloft.experiment.results import AnalysisResult, Effect

# Okabe, Ito (2008): colours that remain distinct with colour-vision deficiency.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9")
LABELS = {"ctr": "CTR", "model_time": "model time", "latency": "latency"}


def to_svg(figure: Figure, label: str) -> str:
    """Return the figure as an SVG element with a text alternative; same input, same bytes."""
    stream = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "marloft", "svg.fonttype": "path"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    svg = stream.getvalue()
    element = svg[svg.index("<svg") :]
    return element.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def forest(experiment: Experiment, results: AnalysisResult) -> Figure:
    """Draw each effect with its interval; bars mark the margins that the decision looks at."""
    effects = list(reversed(results.effects))
    figure, axes = _canvas(height=0.75 * len(effects) + 1.2)
    for row, effect in enumerate(effects):
        colour = COLOURS[[arm.name for arm in results.arms].index(effect.arm) % len(COLOURS)]
        _interval(axes, row, effect.estimate, colour)
        limit = _limit(experiment, effect)
        axes.plot([100 * limit] * 2, [row - 0.35, row + 0.35], color="#b3362b", lw=2.5, ls=":")
    axes.axvline(0, color="#51606f", lw=1)
    axes.set_yticks(
        range(len(effects)), [f"{_metric_name(experiment, e)}\n({e.arm})" for e in effects]
    )
    axes.set_ylim(-0.6, len(effects) - 0.4)
    axes.set_xlabel("change relative to control, %")
    return figure


def ctr_over_time(results: AnalysisResult) -> Figure:
    """Draw each arm's CTR per stretch of time; dot sizes follow the impressions."""
    figure, axes = _canvas(height=3.2)
    first = min(datetime.fromisoformat(point.time) for point in results.ctr_over_time)
    largest = max(point.impressions for point in results.ctr_over_time)
    for place, arm in enumerate(results.arms):
        points = [point for point in results.ctr_over_time if point.arm == arm.name]
        times = [(datetime.fromisoformat(p.time) - first).total_seconds() / 60 for p in points]
        colour = COLOURS[place % len(COLOURS)]
        axes.plot(times, [p.ctr for p in points], color=colour, lw=1.2, label=arm.name)
        sizes = [8 + 40 * p.impressions / largest for p in points]
        axes.scatter(times, [p.ctr for p in points], s=sizes, color=colour)
    axes.set_xlabel("minutes since the first request")
    axes.set_ylabel("clicks per shown item")
    axes.legend(frameon=False)
    return figure


def latency(results: AnalysisResult) -> Figure:
    """Draw each arm's latency quantiles with their intervals, in ms."""
    figure, axes = _canvas(height=2.8)
    labels = sorted({q for arm in results.arms for q in arm.latency_ms}, key=float)
    width = 0.8 / len(results.arms)
    for place, arm in enumerate(results.arms):
        for row, label in enumerate(labels):
            estimate = arm.latency_ms.get(label)
            if estimate is not None:
                _interval(
                    axes, row - 0.3 + place * width, estimate, COLOURS[place % len(COLOURS)], 1.0
                )
        axes.plot([], [], "o-", color=COLOURS[place % len(COLOURS)], label=arm.name)
    axes.set_yticks(range(len(labels)), [f"p{float(label) * 100:g}" for label in labels])
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_xlabel("latency, ms")
    axes.legend(frameon=False)
    return figure


def _canvas(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7.6, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="#e3e9ef")
    axes.set_axisbelow(True)
    return figure, axes


def _interval(
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


def _limit(experiment: Experiment, effect: Effect) -> float:
    limits = {
        "ctr": -experiment.decision.ctr_margin,
        "model_time": 0.0,
        "latency": experiment.decision.latency_margin,
    }
    return limits[effect.metric]


def _metric_name(experiment: Experiment, effect: Effect) -> str:
    quantile = f"p{experiment.metrics.latency.quantile * 100:g} "
    return (quantile if effect.metric == "latency" else "") + LABELS[effect.metric]
