"""Figures of one run: the training curves, the latency of every form."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_DPI = 110
_COLORS = ("#3a5a78", "#c2703d")


def training_figure(epochs: Sequence[Mapping[str, Any]]) -> bytes:
    """Return loss and AUC per epoch as PNG; `epochs` are the lines of `metrics.jsonl`."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    loss, auc = figure.subplots(1, 2)
    numbers = [epoch["epoch"] for epoch in epochs]
    for axes, names, title in (
        (loss, ("train_loss", "valid_log_loss"), "log loss"),
        (auc, ("valid_auc",), "AUC"),
    ):
        for name, color in zip(names, _COLORS, strict=False):
            label = name.split("_")[0]
            axes.plot(
                numbers, [epoch[name] for epoch in epochs], marker="o", color=color, label=label
            )
        axes.set(xlabel="epoch", title=title)
        axes.grid(alpha=0.3)
        axes.legend()
    return _png(figure)


def latency_figure(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return p50 and p99 of one request of 50 candidates per form as PNG."""
    shown = [row for row in rows if row["candidates"] == 50][::-1]
    figure = Figure(figsize=(8, 0.7 + 0.55 * len(shown)), layout="constrained")
    axes = figure.subplots()
    names = [f"{row['artifact']} ({row['runtime']})" for row in shown]
    axes.barh(names, [row["p99_ms"] for row in shown], color="#cfd8e0", label="p99")
    axes.barh(names, [row["p50_ms"] for row in shown], color=_COLORS[0], label="p50", height=0.45)
    axes.set(xlabel="ms for 50 candidates, one thread")
    axes.legend(loc="lower right")
    return _png(figure)


def _png(figure: Figure) -> bytes:
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    # Without the version of the library in it, equal figures are equal bytes.
    figure.savefig(buffer, dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()
