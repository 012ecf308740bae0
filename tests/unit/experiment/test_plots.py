"""The report's pictures show every effect with its limit, and every arm."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from harness.factories import REPOSITORY
from marloft.experiment import plots
from marloft.experiment.design import read_experiment
from tests.unit.experiment.made_results import RESULTS

EXPERIMENT = read_experiment(REPOSITORY / "workflows" / "feed_ab" / "experiment.yaml")


def ticks(figure: Figure) -> list[str]:
    (axes,) = figure.axes
    return [label.get_text() for label in axes.get_yticklabels()]


def legend(figure: Figure) -> list[str]:
    (axes,) = figure.axes
    found = axes.get_legend()
    assert found is not None
    return [text.get_text() for text in found.get_texts()]


def test_forest_has_a_row_per_effect_and_the_limits_of_the_decision() -> None:
    figure = plots.forest(EXPERIMENT, RESULTS)
    assert ticks(figure) == [
        "p99 latency\n(treatment)",
        "model time\n(treatment)",
        "CTR\n(treatment)",
    ]
    (axes,) = figure.axes
    dotted = [line for line in axes.lines if line.get_linestyle() == ":"]
    limits = [np.asarray(line.get_xdata()).mean() for line in dotted]
    assert limits == pytest.approx([25, 0, -10])


def test_ctr_is_drawn_for_each_arm_from_the_first_request_on() -> None:
    figure = plots.ctr_over_time(RESULTS)
    assert legend(figure) == ["control", "treatment"]
    (axes,) = figure.axes
    assert [np.asarray(line.get_xdata()).tolist() for line in axes.lines] == [[0, 30], [0, 30]]


def test_latency_is_drawn_for_each_quantile() -> None:
    figure = plots.latency(RESULTS)
    assert ticks(figure) == ["p50", "p99"]
    assert legend(figure) == ["control", "treatment"]
