"""The report's pictures as SVG text: effects with their intervals, CTR over time, latency."""

from datetime import datetime

from matplotlib.figure import Figure

from marloft.experiment.design import Experiment
from marloft.experiment.results import AnalysisResult, Effect
from marloft.report.figures import COLOURS, LIMIT_COLOUR, canvas, draw_interval

LABELS = {"ctr": "CTR", "model_time": "model time", "latency": "latency"}


def forest(experiment: Experiment, results: AnalysisResult) -> Figure:
    """Draw each effect with its interval; bars mark the margins that the decision looks at."""
    effects = list(reversed(results.effects))
    figure, axes = canvas(height=0.75 * len(effects) + 1.2)
    for row, effect in enumerate(effects):
        colour = COLOURS[[arm.name for arm in results.arms].index(effect.arm) % len(COLOURS)]
        draw_interval(axes, row, effect.estimate, colour)
        limit = _limit(experiment, effect)
        axes.plot([100 * limit] * 2, [row - 0.35, row + 0.35], color=LIMIT_COLOUR, lw=2.5, ls=":")
    axes.axvline(0, color="#51606f", lw=1)
    axes.set_yticks(
        range(len(effects)), [f"{_metric_name(experiment, e)}\n({e.arm})" for e in effects]
    )
    axes.set_ylim(-0.6, len(effects) - 0.4)
    axes.set_xlabel("change relative to control, %")
    return figure


def ctr_over_time(results: AnalysisResult) -> Figure:
    """Draw each arm's CTR per time bin; dot sizes follow the impressions."""
    figure, axes = canvas(height=3.2)
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
    figure, axes = canvas(height=2.8)
    labels = sorted({q for arm in results.arms for q in arm.latency_ms}, key=float)
    width = 0.8 / len(results.arms)
    for place, arm in enumerate(results.arms):
        for row, label in enumerate(labels):
            estimate = arm.latency_ms.get(label)
            if estimate is not None:
                draw_interval(
                    axes, row - 0.3 + place * width, estimate, COLOURS[place % len(COLOURS)], 1.0
                )
        axes.plot([], [], "o-", color=COLOURS[place % len(COLOURS)], label=arm.name)
    axes.set_yticks(range(len(labels)), [f"p{float(label) * 100:g}" for label in labels])
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.set_xlabel("latency, ms")
    axes.legend(frameon=False)
    return figure


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
